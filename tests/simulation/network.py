"""A network and a clock that a seed rules: requests and answers are lost, repeated, late and out of order."""

from __future__ import annotations

import email.message
import io
import urllib.error
import urllib.request
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from http import HTTPStatus
from random import Random
from typing import Any, Final, Self

import pytest

from joulegate import client as client_module
from joulegate import spool as spool_module
from joulegate.client import Client
from joulegate.clock import Instant

ADDRESS: Final = "http://127.0.0.1"
TICK: Final = timedelta(microseconds=1)
REVIEW_PATIENCE: Final = timedelta(seconds=3)
"""An API server gives up a webhook after so long; its request is not worked on much later."""


class Time:
    """The only clock of a world. Each look at it takes a microsecond, so that no two facts have one instant."""

    def __init__(self, now: datetime) -> None:
        self.instant = now

    def __call__(self) -> datetime:
        self.instant += TICK
        return self.instant

    def monotonic(self) -> float:
        return self.instant.timestamp()

    def sleep(self, seconds: float) -> None:
        self.instant += timedelta(seconds=seconds)

    def pass_until(self, instant: datetime) -> None:
        self.instant = max(self.instant, instant)

    def boottime_ns(self) -> int:
        return int((self.instant - datetime(2026, 1, 1, tzinfo=UTC)) / TICK) * 1_000

    def now(self) -> Instant:
        return Instant(self.boottime_ns(), self.instant)


@dataclass(frozen=True, slots=True)
class Call:
    """One request as it is on the wire."""

    method: str
    path: str
    headers: dict[str, str]
    body: bytes


@dataclass(frozen=True, slots=True)
class Reply:
    status: int
    body: bytes

    def read(self) -> bytes:
        return self.body

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        """Nothing is held open."""


@dataclass(frozen=True, slots=True)
class Faults:
    """How probable each fault of a message is; all zero is a perfect network."""

    lost: float = 0
    answer_lost: float = 0
    refused: float = 0
    failed_after: float = 0
    late: float = 0
    repeated: float = 0
    longest: timedelta = timedelta()

    @classmethod
    def drawn(cls, chance: Random) -> Faults:
        worst = chance.choice([0.02, 0.1, 0.2])
        lost, answer_lost, refused, failed_after, late, repeated = (chance.uniform(0, worst) for _ in range(6))
        return cls(
            lost,
            answer_lost,
            refused,
            failed_after,
            late,
            repeated,
            longest=chance.choice([timedelta(minutes=1), timedelta(hours=3), timedelta(days=7)]),
        )


Serve = Callable[[Call], Reply]


@dataclass
class Network:
    """Stands where the client's opener stands."""

    chance: Random
    time: Time
    serve: Serve
    faults: Faults = field(default_factory=Faults)
    under_way: list[tuple[datetime, Call]] = field(default_factory=list)
    seen: list[Call] = field(default_factory=list)

    def open(self, request: urllib.request.Request, timeout: float) -> Reply:
        call = Call(
            request.get_method(),
            request.selector,
            dict(request.header_items()),
            bytes(request.data or b""),  # type: ignore[arg-type]
        )
        self.time.sleep(0.005)
        fate = self._fate()
        if fate == "refused":
            return _read(request, Reply(HTTPStatus.SERVICE_UNAVAILABLE, b""))
        if fate == "late":
            self._send_later(call)
        if fate in ("lost", "late"):
            self.time.sleep(min(timeout, 3.0))
            raise TimeoutError
        if call.method != "GET":
            self.seen.append(call)
        reply = self.serve(call)
        if fate == "repeated":
            self._send_later(call)
        if fate == "answer_lost":
            raise ConnectionResetError
        return _read(request, Reply(HTTPStatus.INTERNAL_SERVER_ERROR, b"") if fate == "failed_after" else reply)

    def _fate(self) -> str:
        at = self.chance.random()
        for name in ("lost", "answer_lost", "refused", "failed_after", "late", "repeated"):
            at -= getattr(self.faults, name)
            if at < 0:
                return name
        return "well"

    def _send_later(self, call: Call) -> None:
        longest = min(self.faults.longest, REVIEW_PATIENCE) if "/admission/" in call.path else self.faults.longest
        self.under_way.append((self.time.instant + self.chance.random() * longest, call))

    def wait(self, seconds: float) -> None:
        """Time goes by, and what was late arrives when its time has come; nobody waits for its answer."""
        until = self.time.instant + timedelta(seconds=seconds)
        while due := sorted((late for late in self.under_way if late[0] <= until), key=lambda late: late[0]):
            self.time.pass_until(due[0][0])
            self._arrive(due[0])
        self.time.pass_until(until)

    def arrive_all(self) -> None:
        """Whatever is still under way arrives."""
        while self.under_way:
            self._arrive(self.chance.choice(self.under_way))

    def _arrive(self, late: tuple[datetime, Call]) -> None:
        self.under_way.remove(late)
        with suppress(ConnectionResetError):
            self.serve(late[1])

    def repeat_some(self, most: int) -> None:
        """Old messages that change nothing any more arrive once more, in any order."""
        calls = [call for call in self.seen if "/admission/" not in call.path]
        for call in self.chance.sample(calls, min(most, len(calls))):
            self.serve(call)

    def install(self, patch: pytest.MonkeyPatch) -> None:
        """Let the real client and spool of this process speak through this network, by this clock."""
        patch.setattr(client_module, "opener_for", lambda _: self)
        patch.setattr(client_module, "random", self.chance)
        for module in (client_module, spool_module):
            patch.setattr(module, "time", self.time)

    def client(self, principal_token: str) -> Client:
        return Client(ADDRESS, principal_token, timeout_s=3.0, retry_s=2.0)


def _read(request: urllib.request.Request, reply: Reply) -> Reply:
    """As urllib gives an answer to its caller: an error is raised."""
    if reply.status < HTTPStatus.BAD_REQUEST:
        return reply
    headers: Any = email.message.Message()
    raise urllib.error.HTTPError(request.full_url, reply.status, "", headers, io.BytesIO(reply.body))
