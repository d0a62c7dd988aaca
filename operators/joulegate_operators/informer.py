"""Keeps what a list and its watch say, in one thread, for as long as the process runs."""

from __future__ import annotations

import random
import sys
import threading
import time
from collections.abc import Callable, Mapping
from typing import Any, Final, Generic, TypeVar

from joulegate_operators.kube import Call, Json, KubeError, listed, watched

Kept = TypeVar("Kept")

_GONE: Final = 410
_PAGE: Final = 500
_LONGEST_PAUSE_S: Final = 30.0


class Informer(Generic[Kept]):
    """The objects of one list by uid, each as ``keep`` makes it; an object for which it gives None is left out.

    The list is asked for again when the watch cannot go on from where it was, and
    after an error with growing pauses. Until then what was known stays.
    """

    def __init__(
        self,
        name: str,
        call: Call,
        keep: Callable[[Json], Kept | None],
        changed: threading.Event | None = None,
        **options: Any,  # noqa: ANN401 -- options of the client
    ) -> None:
        """``changed`` may be shared by several; ``options`` go with every list and watch (a field selector)."""
        self.name = name
        self._call = call
        self._keep = keep
        self._options = options
        self._objects: dict[str, Kept] = {}
        self._lock = threading.Lock()
        self._stop = threading.Event()
        self.synced = threading.Event()
        """Set once a whole list has been taken."""
        self.changed = changed or threading.Event()
        """Set whenever what is known may have changed; whoever waits for it clears it before looking."""
        self.revision = 0
        """Grows with each change, for whoever shares the event."""
        self.error: str | None = None
        self.heard = time.monotonic()
        """When the server last said anything, on the monotonic clock."""
        self._thread = threading.Thread(target=self._run, name=f"joulegate {name}", daemon=True)

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    def stop(self) -> None:
        """End soon; a watch that waits is left to the end of the process."""
        self._stop.set()

    def objects(self) -> Mapping[str, Kept]:
        """What is known now."""
        with self._lock:
            return dict(self._objects)

    def _run(self) -> None:
        failures = 0
        while not self._stop.is_set():
            try:
                version = self._list()
                failures = 0
                while not self._stop.is_set():
                    version = self._watch(version)
            except KubeError as error:
                if error.status == _GONE:
                    continue
                self.error = str(error)
                failures += 1
                pause_s = min(_LONGEST_PAUSE_S, 0.5 * 2**failures)
                self._stop.wait(pause_s * random.uniform(0.5, 1.0))  # noqa: S311 -- spreads retries

    def listed(self) -> Mapping[str, Kept]:
        """A list of its own, of what stands in the cluster now; what the watch knows may be older.

        Raises :class:`KubeError`.
        """
        return self._whole()[0]

    def _list(self) -> str:
        found, version = self._whole()
        with self._lock:
            self._objects = found
            self.revision += 1
        self._hear()
        self.synced.set()
        self.changed.set()
        return version

    def _whole(self) -> tuple[dict[str, Kept], str]:
        found: dict[str, Kept] = {}
        options = {"limit": _PAGE}
        while True:
            page = listed(self._call, **self._options, **options)
            for item in page.get("items") or ():
                kept = self._read(item)
                if kept is not None:
                    found[item["metadata"]["uid"]] = kept
            follow = page["metadata"].get("continue")
            if not follow:
                return found, str(page["metadata"]["resourceVersion"])
            options = {"limit": _PAGE, "_continue": follow}

    def _watch(self, version: str) -> str:
        for event in watched(self._call, version, **self._options):
            item = event["object"]
            version = str(item["metadata"]["resourceVersion"])
            if event["type"] != "BOOKMARK":
                self._take(event["type"], item)
            self._hear()
            if self._stop.is_set():
                break
        return version

    def _take(self, kind: str, item: Json) -> None:
        kept = None if kind == "DELETED" else self._read(item)
        with self._lock:
            if kept is None:
                self._objects.pop(item["metadata"]["uid"], None)
            else:
                self._objects[item["metadata"]["uid"]] = kept
            self.revision += 1
        self.changed.set()

    def _read(self, item: Json) -> Kept | None:
        """What is kept of an object; one that cannot be read is told and left out, and the rest go on."""
        try:
            return self._keep(item)
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            name = item["metadata"].get("name")
            sys.stderr.write(f"joulegate: one of {self.name}, {name}, cannot be read: {error!r}\n")
            return None

    def _hear(self) -> None:
        self.error = None
        self.heard = time.monotonic()
