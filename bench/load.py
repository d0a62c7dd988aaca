"""Calls kept in flight for some seconds: how many a second, and how long they took."""

from __future__ import annotations

import http.client
import os
import re
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

Call = Callable[[int], None]
"""One call, by its number."""

_START_S = 60


@dataclass(frozen=True, slots=True)
class Rate:
    """Calls a second, and the 50th and 99th percentile of how long one took."""

    a_second: float
    p50_ms: float
    p99_ms: float


def kept_up(caller: Callable[[int], Call], in_flight: int, seconds: float) -> Rate:
    """Keep ``in_flight`` callers busy, each a thread with its own ``caller``; an error of one is raised."""
    took: list[list[float]] = [[] for _ in range(in_flight)]
    errors: list[Exception] = []
    barrier = threading.Barrier(in_flight)

    def work(place: int) -> None:
        try:
            call = caller(place)
            barrier.wait()
            end = time.perf_counter() + seconds
            while (begun := time.perf_counter()) < end:
                call(len(took[place]))
                took[place].append(time.perf_counter() - begun)
        except Exception as error:  # noqa: BLE001 -- raised below, in the thread that asked
            errors.append(error)
            barrier.abort()

    threads = [threading.Thread(target=work, args=(place,)) for place in range(in_flight)]
    begun = time.perf_counter()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    whole = time.perf_counter() - begun
    if errors:
        raise errors[0]
    every = sorted(one for own in took for one in own)
    return Rate(len(every) / whole, 1e3 * every[len(every) // 2], 1e3 * every[int(len(every) * 0.99)])


def resident_mib() -> float:
    """Memory of this process."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) / 1024 for line in lines if line.startswith("VmRSS"))


@contextmanager
def service(database: str) -> Iterator[tuple[str, str]]:
    """One real process of the API on loopback; its address and its token."""
    with tempfile.TemporaryDirectory() as home:
        environment = {name: value for name, value in os.environ.items() if not name.startswith("JOULEGATE_")}
        environment["JOULEGATE_HOME"] = home
        command = [str(Path(sys.executable).parent / "joulegate"), "up", "--port", "0", "--database", database]
        with subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as process:
            try:
                told = process.stdout.readline().decode() if process.stdout else ""
                found = re.search(r"http://\S+", told)
                if found is None:
                    message = f"the service did not start: {told!r}"
                    raise RuntimeError(message)
                yield found[0], (Path(home) / "token").read_text().strip()
            finally:
                process.send_signal(signal.SIGTERM)
                process.wait(_START_S)


def over_http(
    address: str, token: str, method: str, path: str, body_of: Callable[[int, int], bytes | None], expect: bytes
) -> Callable[[int], Call]:
    """Callers over connections that stay open; every answer must be 200 and hold ``expect``."""
    place_of = urlsplit(address)
    headers = {"Authorization": f"Bearer {token}", "Content-Type": "application/json"}

    def caller(place: int) -> Call:
        connection = http.client.HTTPConnection(place_of.hostname or "", place_of.port, timeout=_START_S)

        def call(number: int) -> None:
            connection.request(method, path, body_of(place, number), headers)
            response = connection.getresponse()
            answer = response.read()
            if response.status != http.client.OK or expect not in answer:
                message = f"{method} {path} answered {response.status}: {answer[:300]!r}"
                raise RuntimeError(message)

        return call

    return caller
