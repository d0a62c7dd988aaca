"""Objects of a cluster, written by the person's own `kubectl`: its context, its rights, its name in the audit log."""

from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from typing import Any, Final

from joulegate.core.errors import UnavailableError

PATIENCE_S: Final = 60


def apply_objects(objects: Sequence[Mapping[str, Any]]) -> None:
    """Apply every object; raises :class:`UnavailableError` with what `kubectl` said where it refused one."""
    program = shutil.which("kubectl")
    if program is None:
        raise UnavailableError("the cluster is the source here, and there is no kubectl to write to it with")
    whole = json.dumps({"apiVersion": "v1", "kind": "List", "items": list(objects)})
    command = [program, "apply", "-f", "-"]
    try:
        done = subprocess.run(command, input=whole, text=True, capture_output=True, check=False, timeout=PATIENCE_S)
    except subprocess.TimeoutExpired as error:
        raise UnavailableError(f"kubectl did not answer within {PATIENCE_S} s") from error
    if done.returncode:
        raise UnavailableError(f"kubectl apply: {done.stderr.strip() or done.stdout.strip()}")
