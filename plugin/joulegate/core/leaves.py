"""The leaves of a log read one after the other: the tree, the chains, and what a verifier needs to know of them."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Any, Final

from joulegate.core.errors import InvalidInputError
from joulegate.core.log import EntryType, read_entry
from joulegate.core.merkle import Frontier, leaf_hash
from joulegate.core.recount import Recount

_PRUNED: Final = re.compile(rb'"([0-9a-f]{64})"')
_BREAK: Final = b'"'
_CHARGED: Final = ("cluster", "incarnation", "charges", "priced")


class Leaves:
    """Takes the lines of a bundle's entries: an entry's canonical form, or the leaf hash of one that was pruned."""

    def __init__(self, tenant: str, recount: Recount, sizes: Sequence[int]) -> None:
        """``sizes`` are those of which the roots are wanted."""
        self.tree = Frontier()
        self.recount = recount
        self.roots: dict[int, bytes] = {}
        self.types: Counter[str] = Counter()
        self.pruned = 0
        self.keys: dict[str, dict[str, Any]] = {}
        self.reports: dict[str, list[dict[str, Any]]] = {}
        self.batches: list[tuple[str, str, dict[str, Any]]] = []
        self.repriced: list[dict[str, Any]] = []
        self.lost: set[str] = set()
        self._tenant = tenant
        self._sizes = frozenset(sizes)
        self._chains: dict[tuple[str, int], tuple[int, str]] = {}
        self._last_pruned = -1
        self._may_be_pruned = 0
        self._unfollowed: set[bytes] = set()
        self._pruned_hashes: set[bytes] = set()
        if 0 in self._sizes:
            self.roots[0] = self.tree.root()

    def add(self, line: bytes) -> str | None:
        """Take the next leaf; returns what is wrong with it, None where nothing is."""
        index = self.tree.size
        if line[:1] == _BREAK:
            fault, digest = self._prune(line, index)
        else:
            digest = leaf_hash(line)
            try:
                fault = self._take(line, digest.hex())
            except InvalidInputError as error:
                fault = str(error)
        self.tree.append(digest)
        if self.tree.size in self._sizes:
            self.roots[self.tree.size] = self.tree.root()
        return None if fault is None else f"entry {index}: {fault}"

    def closing_faults(self) -> Iterator[str]:
        """What can be said only when every leaf is known."""
        if self._last_pruned >= self._may_be_pruned:
            yield f"entry {self._last_pruned}: its body is missing, and no retention says so"
        if self._unfollowed - self._pruned_hashes:
            yield "a chain goes on after an entry that the log does not have"

    def _prune(self, line: bytes, index: int) -> tuple[str | None, bytes]:
        found = _PRUNED.fullmatch(line)
        self.pruned += 1
        self._last_pruned = index
        if found is None:
            return "is neither an entry nor a hash", leaf_hash(line)
        digest = bytes.fromhex(found[1].decode())
        self._pruned_hashes.add(digest)
        return None, digest

    def _take(self, line: bytes, digest: str) -> str | None:
        entry = read_entry(line)
        self.types[entry.type] += 1
        chain = (entry.writer_id, entry.writer_epoch)
        before = self._chains.get(chain)
        self._chains[chain] = (entry.writer_seq, digest)
        self._tell(entry.type, entry.id, entry.at, entry.body)
        if entry.tenant != self._tenant:
            return f"is of tenant {entry.tenant!r}"
        if (entry.writer_seq, entry.previous) == ((0, None) if before is None else (before[0] + 1, before[1])):
            return None
        if not self.pruned or entry.previous is None or (before is not None and entry.writer_seq <= before[0] + 1):
            return f"does not follow the entry before it of writer {entry.writer_id}"
        self._unfollowed.add(bytes.fromhex(entry.previous))  # of a pruned entry, or closing_faults() tells
        return None

    def _tell(self, kind: str, name: str, at: str, body: Any) -> None:  # noqa: ANN401 -- JSON
        self.recount.add(kind, at, body)
        if kind == EntryType.WINDOWS:
            self.batches.append((str(body.get("batch_hash")), at, {part: body.get(part) for part in _CHARGED}))
        elif kind in (EntryType.WINDOWS_PRICED, EntryType.WINDOWS_REPRICED):
            self.repriced.append(body)
        elif kind == EntryType.KEY_EVENT:
            self.keys.setdefault(str(body.get("key")), {"key": "", "after": None, "statement": "", **body})
        elif kind == EntryType.RECOVERY:
            self.lost.add(str(body.get("lost_checkpoint")))
        elif kind == EntryType.RETENTION:
            self._may_be_pruned = max(self._may_be_pruned, _whole(body.get("before_index")))
        elif kind == EntryType.REPORT:
            made = {part: body.get(part) for part in ("digest", "query", "as_of", "software")} | {"priced_by": at}
            self.reports.setdefault(name, []).append(made)


def _whole(text: object) -> int:
    if not isinstance(text, str) or not text.isdigit():
        raise InvalidInputError("a retention names no index")
    return int(text)
