"""A wire that can be cut: stands before the API and loses, halves or replaces what passes."""

from __future__ import annotations

import socket
import struct
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from enum import StrEnum
from typing import Final

PIECE: Final = 65_536
GONE: Final = struct.pack("ii", 1, 0)
"""SO_LINGER for no time: closing sends a reset, as a cut wire or a killed peer does."""

_BROKEN: Final = b"HTTP/1.1 502 Bad Gateway\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"


class Cut(StrEnum):
    """What becomes of one call."""

    NONE = "passes whole"
    REQUEST = "half of the request comes through"
    ANSWER = "done, and the answer is lost"
    HALF = "done, and half of the answer comes back"
    BROKEN = "done, and a proxy says 502"


class Wire:
    """Forwards calls, one a connection, to ``port``; ``chosen`` says how each is cut."""

    def __init__(self, port: int, chosen: Callable[[], Cut]) -> None:
        self._port = port
        self._chosen = chosen
        self._lock = threading.Lock()
        self.seen: Counter[Cut] = Counter()

    def serve(self, listener: socket.socket) -> None:
        while True:
            try:
                caller, _ = listener.accept()
            except OSError:
                return
            threading.Thread(target=self._one, args=(caller,), daemon=True).start()

    def _one(self, caller: socket.socket) -> None:
        with self._lock:
            cut = self._chosen()
            self.seen[cut] += 1
        with caller, socket.create_connection(("127.0.0.1", self._port)) as api:
            asked = _message(caller)
            if cut is Cut.REQUEST:
                api.sendall(asked[: len(asked) // 2])
                api.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, GONE)
            else:
                api.sendall(asked)
                told = _message(api)
                if cut is Cut.NONE:
                    caller.sendall(told)
                    return
                if cut is Cut.BROKEN:
                    caller.sendall(_BROKEN)
                    return
                if cut is Cut.HALF:
                    caller.sendall(told[: len(told) // 2])
            caller.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, GONE)


def _message(sender: socket.socket) -> bytes:
    """One request or answer: its head and as much body as that says."""
    found = b""
    while b"\r\n\r\n" not in found:
        piece = sender.recv(PIECE)
        if not piece:
            return found
        found += piece
    head, body = found.split(b"\r\n\r\n", 1)
    lines = (line.partition(b":") for line in head.split(b"\r\n"))
    length = next((int(value) for name, _, value in lines if name.strip().lower() == b"content-length"), 0)
    while len(body) < length and (piece := sender.recv(PIECE)):
        body += piece
    return head + b"\r\n\r\n" + body


@contextmanager
def wire(port: int, chosen: Callable[[], Cut]) -> Iterator[tuple[str, Wire]]:
    """The address at which calls go in, until the block ends."""
    made = Wire(port, chosen)
    with socket.create_server(("127.0.0.1", 0)) as listener:
        threading.Thread(target=made.serve, args=(listener,), daemon=True).start()
        try:
            yield f"http://127.0.0.1:{listener.getsockname()[1]}", made
        finally:
            listener.shutdown(socket.SHUT_RDWR)
