"""Requests that arrive together share one transaction, and so one wait for the disk (group commit)."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from typing import Generic, TypeVar

Asked = TypeVar("Asked")
Answered = TypeVar("Answered")


class _Seat(Generic[Asked, Answered]):
    """One caller: what it asks, and what it waits for."""

    __slots__ = ("answer", "asked", "error", "leads", "turn")

    def __init__(self, asked: Asked) -> None:
        self.asked = asked
        self.turn = threading.Lock()
        self.turn.acquire()
        self.leads = False
        self.answer: Answered | None = None
        self.error: BaseException | None = None


class Combiner(Generic[Asked, Answered]):
    """The first caller serves all that are waiting; who came meanwhile forms the next batch.

    ``serve`` gets the questions of a batch and returns as many answers; an answer
    that is an exception is raised at its caller only, an exception that ``serve``
    raises is raised at every caller of the batch.
    """

    def __init__(self, serve: Callable[[Sequence[Asked]], Sequence[Answered | Exception]], largest: int) -> None:
        """Serve at most ``largest`` questions at once."""
        self._serve = serve
        self._largest = largest
        self._waiting: list[_Seat[Asked, Answered]] = []
        self._busy = False
        self._lock = threading.Lock()

    def ask(self, asked: Asked) -> Answered:
        """Wait for the answer; the caller may be the one who serves."""
        seat: _Seat[Asked, Answered] = _Seat(asked)
        with self._lock:
            self._waiting.append(seat)
            if not self._busy:
                self._busy = seat.leads = True
        if not seat.leads:
            seat.turn.acquire()
        if seat.leads:
            self._lead()
        if seat.error is not None:
            raise seat.error
        assert seat.answer is not None  # noqa: S101 - every seat of a batch gets an answer or an error
        return seat.answer

    def _lead(self) -> None:
        with self._lock:
            batch, self._waiting = self._waiting[: self._largest], self._waiting[self._largest :]
        try:
            self._answer(batch)
        finally:
            with self._lock:
                heir = self._waiting[0] if self._waiting else None
                if heir is None:
                    self._busy = False
                else:
                    heir.leads = True
            if heir is not None:
                heir.turn.release()  # first: all that wait need it to go on
            for seat in batch:
                seat.leads = False
                seat.turn.release()

    def _answer(self, batch: Sequence[_Seat[Asked, Answered]]) -> None:
        try:
            answers = self._serve([seat.asked for seat in batch])
        except BaseException as error:  # noqa: BLE001 - it belongs to every caller of the batch, each raises it
            for seat in batch:
                seat.error = error
            return
        for seat, answer in zip(batch, answers, strict=True):
            if isinstance(answer, Exception):
                seat.error = answer
            else:
                seat.answer = answer
