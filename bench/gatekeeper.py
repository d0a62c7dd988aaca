"""Gatekeeper with one policy, to stand beside our webhook: built from its Go module, run as its manifests run it."""

from __future__ import annotations

import functools
import json
import os
import shutil
import socket
import subprocess
from base64 import b64encode
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import yaml

from tests.cluster.api import Api, Object, RefusedError, eventually
from tests.cluster.certificates import Authority
from tests.cluster.conftest import is_established
from tests.cluster.controlplane import ControlPlane
from tests.cluster.programs import cache

MODULE: Final = "github.com/open-policy-agent/gatekeeper/v3"
VERSION: Final = "v3.23.1"
LABEL: Final = "team"
"""What the one policy asks of every pod."""

_BUILD_S: Final = 1_800
_REGO: Final = """package labelled
violation[{"msg": "a pod needs a team"}] { not input.review.object.metadata.labels["team"] }
"""
_TEMPLATE: Final[Object] = {
    "apiVersion": "templates.gatekeeper.sh/v1",
    "kind": "ConstraintTemplate",
    "metadata": {"name": "labelled"},
    "spec": {
        "crd": {"spec": {"names": {"kind": "Labelled"}}},
        "targets": [{"target": "admission.k8s.gatekeeper.sh", "rego": _REGO}],
    },
}
_CONSTRAINT: Final[Object] = {
    "apiVersion": "constraints.gatekeeper.sh/v1beta1",
    "kind": "Labelled",
    "metadata": {"name": "pods"},
    "spec": {"match": {"kinds": [{"apiGroups": [""], "kinds": ["Pod"]}]}},
}


def program() -> Path:
    """Its manager, built where it was not before; minutes. Raises :class:`subprocess.CalledProcessError`."""
    target = cache() / f"gatekeeper-{VERSION}"
    if not target.is_file():
        fresh = cache() / f"gatekeeper-{VERSION}.{os.getpid()}"
        settings = {"CGO_ENABLED": "0", "GOFLAGS": "-trimpath", "GOTOOLCHAIN": "local", "GOBIN": str(fresh)}
        try:
            subprocess.run(
                [_go(), "install", f"{MODULE}@{VERSION}"],
                env={**os.environ, **settings},
                check=True,
                timeout=_BUILD_S,
                capture_output=True,
                text=True,
            )
            next(fresh.iterdir()).rename(target)
        finally:
            shutil.rmtree(fresh, ignore_errors=True)
    return target


def _go() -> str:
    """Where Go is; raises :class:`FileNotFoundError`."""
    found = shutil.which("go")
    if found is None:
        raise FileNotFoundError("go")
    return found


def manifests() -> list[Object]:
    """What its own release applies."""
    told = subprocess.run(
        [_go(), "mod", "download", "-json", f"{MODULE}@{VERSION}"], check=True, capture_output=True, text=True, cwd="/"
    )
    folder = Path(json.loads(told.stdout)["Dir"])
    return list(yaml.safe_load_all((folder / "deploy" / "gatekeeper.yaml").read_text(encoding="utf-8")))


def webhook(port: int, authority: Authority, namespace: str) -> Object:
    """Its webhook for the pods of one namespace, asked at a port of this machine, closed where it does not answer."""
    return {
        "apiVersion": "admissionregistration.k8s.io/v1",
        "kind": "ValidatingWebhookConfiguration",
        "metadata": {"name": "gatekeeper-validating-webhook-configuration"},
        "webhooks": [
            {
                "name": "validation.gatekeeper.sh",
                "clientConfig": {
                    "url": f"https://127.0.0.1:{port}/v1/admit",
                    "caBundle": b64encode(authority.certificate.read_bytes()).decode(),
                },
                "rules": [{"apiGroups": [""], "apiVersions": ["v1"], "operations": ["CREATE"], "resources": ["pods"]}],
                "namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": namespace}},
                "failurePolicy": "Fail",
                "matchPolicy": "Exact",
                "sideEffects": "None",
                "admissionReviewVersions": ["v1"],
                "timeoutSeconds": 3,
            }
        ],
    }


def _define(api: Api) -> None:
    """Its namespace and its own kinds."""
    for source in manifests():
        if source["kind"] in {"Namespace", "CustomResourceDefinition"}:
            api.apply(source)
            if source["kind"] == "CustomResourceDefinition":
                eventually(functools.partial(is_established, api, source))


@contextmanager
def serving(plane: ControlPlane, api: Api, folder: Path, namespace: str) -> Iterator[tuple[Object, int]]:
    """Its process with one policy that is in force; its webhook, not yet applied, and its process id."""
    binary = program()
    _define(api)
    pair = plane.serving_pair("gatekeeper")
    folder.mkdir()
    shutil.copyfile(pair.certificate, folder / "tls.crt")
    shutil.copyfile(pair.key, folder / "tls.key")
    port, health = _free_port(), _free_port()
    command = [
        str(binary),
        "--host=127.0.0.1",
        f"--port={port}",
        f"--cert-dir={folder}",
        "--disable-cert-rotation",
        "--logtostderr",
        "--exempt-namespace=gatekeeper-system",
        "--operation=webhook",
        "--operation=status",
        "--operation=generate",
        "--disable-opa-builtin={http.send}",
        "--debug-use-fake-pod",
        f"--health-addr=127.0.0.1:{health}",
    ]
    environment: Mapping[str, str] = {
        **os.environ,
        "KUBECONFIG": str(plane.kubeconfig),
        "POD_NAMESPACE": "gatekeeper-system",
        "POD_NAME": "gatekeeper",
        "NAMESPACE": "gatekeeper-system",
    }
    with (
        (folder / "log").open("wb") as log,
        subprocess.Popen(command, env=environment, stdout=log, stderr=log) as process,
    ):
        try:
            eventually(lambda: _open(port), within_s=60, saying="Gatekeeper listens")
            api.apply(_TEMPLATE)
            eventually(lambda: _applied(api, _CONSTRAINT), saying="its policy is known")
            hook = webhook(port, Authority.load(plane.certificates), namespace)
            yield hook, process.pid
        except AssertionError as error:
            last = (folder / "log").read_text(encoding="utf-8", errors="replace")[-2_000:]
            message = f"{error}; Gatekeeper said last: {last}"
            raise RuntimeError(message) from error
        finally:
            process.terminate()
            process.wait(timeout=60)


def _applied(api: Api, source: Object) -> Any:  # noqa: ANN401 -- what the API server answered
    try:
        return api.apply(source)
    except (RefusedError, KeyError):
        return None


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        return int(probe.getsockname()[1])


def _open(port: int) -> bool:
    try:
        with socket.create_connection(("127.0.0.1", port), 1):
            return True
    except OSError:
        return False
