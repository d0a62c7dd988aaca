"""One control plane for all tests of a process, and a namespace of its own for each that asks."""

from __future__ import annotations

import fcntl
import functools
import itertools
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import IO

import pytest
import yaml

from tests.cluster.api import Api, Object, eventually
from tests.cluster.controlplane import ControlPlane
from tests.cluster.programs import ROOT, Clients, clients, programs

SLOTS = 16
CRDS = ROOT / "helm" / "joulegate" / "files" / "crds"
_numbers = itertools.count(1)


def claim_slot() -> tuple[Path, IO[str]]:
    """The first folder that no living process holds; what a killed one left there is stopped on start."""
    home = Path(tempfile.gettempdir()) / f"joulegate-cluster-{os.getuid()}"
    home.mkdir(mode=0o700, exist_ok=True)
    if home.stat().st_uid != os.getuid():
        message = f"{home} belongs to somebody else"
        raise PermissionError(message)
    for slot in range(SLOTS):
        lock = (home / f"{slot}.lock").open("w")
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            lock.close()
            continue
        return home / str(slot), lock
    message = f"all {SLOTS} slots in {home} are taken"
    raise RuntimeError(message)


@pytest.fixture(scope="session")
def control_plane() -> Iterator[ControlPlane]:
    """A control plane that runs."""
    folder, lock = claim_slot()
    plane = ControlPlane(folder)
    with lock:
        plane.start(programs())
        try:
            yield plane
        finally:
            plane.remove()


@pytest.fixture(scope="session")
def api(control_plane: ControlPlane) -> Iterator[Api]:
    """A client that may do everything."""
    client = Api.open(control_plane.kubeconfig)
    yield client
    client.close()


@pytest.fixture(scope="session")
def tools() -> Clients:
    """The programs that people use: kubectl and helm."""
    return clients()


@pytest.fixture
def namespace(api: Api) -> Iterator[str]:
    """A new namespace; what is in it goes with it, later."""
    source: Object = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": f"test-{next(_numbers)}"}}
    api.create(source)
    yield str(source["metadata"]["name"])
    api.delete(source)


@pytest.fixture(scope="session")
def crds(api: Api) -> list[Object]:
    """The definitions of Joulegate's own kinds, applied and served."""
    applied = [yaml.safe_load(path.read_text(encoding="utf-8")) for path in sorted(CRDS.glob("*.yaml"))]
    for definition in applied:
        api.apply(definition)
    for definition in applied:
        eventually(functools.partial(is_established, api, definition))
    return applied


def is_established(api: Api, definition: Object) -> bool:
    """Whether the objects of a definition can be written."""
    told = api.read(definition).get("status", {}).get("conditions") or []
    conditions = {each["type"]: each["status"] for each in told}
    return conditions.get("Established") == "True" and conditions.get("NamesAccepted") == "True"
