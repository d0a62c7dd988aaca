"""What holds for every test: one lane, nothing of the user's, no address but this machine's."""

import ipaddress
import os
import socket
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.lanes import ROOT, Lane, load

LANES = load(ROOT / "tests" / "lanes.toml")
NEEDS = frozenset(lane.marker for lane in LANES if lane.marker and lane.need)


def lane_of_path(path: Path) -> Lane | None:
    """The lane that owns every test in `path`, if one does."""
    for lane in LANES:
        if any(path.is_relative_to(ROOT / owned) for owned in lane.paths):
            return lane
    return None


def leads_to_owned_paths(folder: Path, environment: str) -> bool:
    """Whether `folder` is above a path that a lane of `environment` owns."""
    owned = [path for lane in LANES if lane.environment == environment for path in lane.paths]
    return any((ROOT / path).is_relative_to(folder) for path in owned)


def pytest_configure(config: pytest.Config) -> None:
    """Each lane but the one without a marker gives its marker to pytest."""
    for lane in LANES:
        if lane.marker:
            config.addinivalue_line("markers", f"{lane.marker}: belongs to lane {lane.name}")


def pytest_ignore_collect(collection_path: Path) -> bool | None:
    """KFP and the services share no environment: each collects only what is its own."""
    owner = lane_of_path(collection_path)
    if Path(sys.prefix).name != ".venv-kfp":
        return True if owner and owner.environment == ".venv-kfp" else None
    if owner:
        return True if owner.environment != ".venv-kfp" else None
    return None if leads_to_owned_paths(collection_path, ".venv-kfp") else True


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """A test needs one thing at most; its path may say what."""
    for item in items:
        owner = lane_of_path(item.path)
        if owner is not None and owner.marker is not None:
            item.add_marker(owner.marker)
        needs = {mark.name for mark in item.iter_markers()} & NEEDS
        if len(needs) > 1:
            message = f"{item.nodeid} is in more than one lane: {', '.join(sorted(needs))}"
            raise pytest.UsageError(message)


@pytest.fixture(autouse=True)
def own_home(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    """Settings of the user do not reach a test, and a test's state does not reach the user."""
    for name in [name for name in os.environ if name.startswith("JOULEGATE_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("JOULEGATE_HOME", str(tmp_path_factory.getbasetemp() / "no-home"))


def is_this_machine(host: object) -> bool:
    """Whether `host`, as given to a socket, is loopback; an absent host is."""
    text = host.decode() if isinstance(host, bytes) else host
    if text is None or text in {"", "localhost"}:
        return True
    try:
        return isinstance(text, str) and ipaddress.ip_address(text).is_loopback
    except ValueError:
        return False


@pytest.fixture(autouse=True, scope="session")
def only_this_machine() -> Iterator[None]:
    """A test that reaches for another machine fails at once, before a name is resolved."""
    connect, connect_ex, look_up = (
        socket.socket.connect,
        socket.socket.connect_ex,
        socket.getaddrinfo,
    )

    def check(host: object) -> None:
        if not is_this_machine(host):
            message = f"a test reached for {host!r}; tests talk to loopback only"
            raise PermissionError(message)

    def guarded_connect(self: socket.socket, address: Any) -> None:
        if self.family in {socket.AF_INET, socket.AF_INET6}:
            check(address[0])
        connect(self, address)

    def guarded_connect_ex(self: socket.socket, address: Any) -> int:
        if self.family in {socket.AF_INET, socket.AF_INET6}:
            check(address[0])
        return connect_ex(self, address)

    def guarded_look_up(host: Any, *rest: Any, **more: Any) -> Any:
        check(host)
        return look_up(host, *rest, **more)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(socket.socket, "connect", guarded_connect)
        patch.setattr(socket.socket, "connect_ex", guarded_connect_ex)
        patch.setattr(socket, "getaddrinfo", guarded_look_up)
        yield
