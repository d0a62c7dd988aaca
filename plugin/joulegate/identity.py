"""Which run this is, from the command line and the environment that a pipeline gives a step.

KFP hands every step its ``--executor_input``: the paths of its outputs name the
pipeline, the run, the iterations of loops and the task, in a cluster and locally
alike. Locally they are the only source.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path, PurePosixPath
from typing import Final

from joulegate.core.records import Run

SERVICE_ACCOUNT_NAMESPACE: Final = Path("/var/run/secrets/kubernetes.io/serviceaccount/namespace")
_POD_UID: Final = ("JOULEGATE_POD_UID", "KFP_POD_UID", "ARGO_POD_UID")
_LONGEST_ID: Final = 128
_LONGEST_LINE: Final = 253

# <pipeline root>/<pipeline>-<time>/[<loop>-iteration-<n>/...]<task>/<output>
_LOCAL_RUN: Final = re.compile(r"(?P<pipeline>.+)-\d{4}(?:-\d\d){5}-\d{6}")
# <pipeline root>/<pipeline>/<run uuid>/<task>/[<execution uuid>/]<output>
_UUID: Final = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}")


@dataclass(frozen=True, slots=True)
class _Step:
    uid: str
    pipeline: str
    task: str


def run_of(
    command: Sequence[str],
    environment: Mapping[str, str],
    *,
    fresh_uid: str,
    name: str | None = None,
    namespace_file: Path = SERVICE_ACCOUNT_NAMESPACE,
) -> Run:
    """The identity of a run of ``command``.

    From the executor input, else the pod, else ``fresh_uid``. ``name`` is the
    step's name where it is given; otherwise it is the task's, else the command's.
    """
    step = _step_of(command)
    pod_uid = next((environment[key] for key in _POD_UID if environment.get(key)), None)
    retry = environment.get("KFP_RETRY_INDEX", "")
    named = name or (step.task if step else PurePosixPath(command[0]).name if command else None)
    return Run(
        uid=as_id(step.uid if step else pod_uid or fresh_uid),
        pipeline=as_line(step.pipeline if step else environment.get("ARGO_WORKFLOW_NAME")),
        step=as_line(named),
        attempt=int(retry) + 1 if re.fullmatch(r"\d{1,5}", retry) else 1,
        cluster=as_line(environment.get("JOULEGATE_CLUSTER")) or "local",
        namespace=as_line(environment.get("JOULEGATE_NAMESPACE") or _text(namespace_file)) or "default",
        pod_uid=as_id(pod_uid) if pod_uid else None,
        site=as_line(environment.get("JOULEGATE_SITE")) or "default",
    )


def as_line(text: str | None) -> str | None:
    """``text`` as one line that every reader can show; None where nothing is left of it."""
    if not text:
        return None
    return "".join(c if c.isprintable() else " " for c in text).strip()[:_LONGEST_LINE] or None


def as_id(text: str) -> str:
    """``text`` as an id that goes into an address; a long one keeps its beginning and gets a digest."""
    plain = re.sub(r"[^A-Za-z0-9._:-]", "-", text).lstrip("._:-") or "run"
    if len(plain) <= _LONGEST_ID:
        return plain
    return f"{plain[: _LONGEST_ID - 17]}-{sha256(text.encode()).hexdigest()[:16]}"


def _step_of(command: Sequence[str]) -> _Step | None:
    paths = [path.split("/") for path in _output_paths(command)]
    places = [(parts, at) for parts in paths for at in range(1, len(parts) - 2)]
    for parts, at in places:
        if local := _LOCAL_RUN.fullmatch(parts[at]):
            return _Step(".".join(parts[at:-1]), local["pipeline"], parts[-2])
    for parts, at in places:  # second, because any folder above a local run may be named by a UUID
        if _UUID.fullmatch(parts[at]):
            return _Step(".".join(parts[at:-1]), parts[at - 1], parts[at + 1])
    return None


def _output_paths(command: Sequence[str]) -> Iterator[str]:
    try:
        outputs = json.loads(_executor_input(command))["outputs"]
        for artifact_list in outputs.get("artifacts", {}).values():
            yield from (str(artifact["uri"]) for artifact in artifact_list["artifacts"])
        yield str(outputs["outputFile"])
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return  # not KFP's, or of a form that we do not know: the run has another name then


def _executor_input(command: Sequence[str]) -> str:
    for at, word in enumerate(command):
        if word == "--executor_input" and at + 1 < len(command):
            return command[at + 1]
        if word.startswith("--executor_input="):
            return word.partition("=")[2]
    return ""


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError):
        return ""
