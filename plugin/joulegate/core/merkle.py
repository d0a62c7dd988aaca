"""The Merkle tree of RFC 6962 and its proofs.

A tree over ``size`` leaves is split at the largest power of two below its size
(section 2.1). A :class:`Frontier` adds leaves one at a time and keeps only the
roots of the perfect subtrees, so a tree head costs O(log n); proofs ask for the
roots of perfect subtrees, whoever keeps them. Checks follow RFC 9162, sections
2.1.3.2 and 2.1.4.2.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from hashlib import sha256
from typing import Final

from joulegate.core.errors import InvalidInputError

HASH_BYTES: Final = 32
EMPTY_ROOT: Final = sha256(b"").digest()
"""The head of a tree without leaves (RFC 6962, section 2.1)."""

_LEAF: Final = b"\x00"
_NODE: Final = b"\x01"

NodeReader = Callable[[int, int], bytes]
"""``(level, position)`` -> root of the perfect subtree of 2**level leaves from leaf ``position`` * 2**level on."""


def leaf_hash(data: bytes) -> bytes:
    """The hash of a leaf: SHA-256 of 0x00 and the data (RFC 6962, section 2.1)."""
    return sha256(_LEAF + data).digest()


def node_hash(left: bytes, right: bytes) -> bytes:
    """The hash of an inner node: SHA-256 of 0x01 and both children (RFC 6962, section 2.1)."""
    return sha256(_NODE + left + right).digest()


@dataclass(slots=True)
class Frontier:
    """The right edge of a tree: its size, and the roots of its perfect subtrees, the largest first."""

    size: int = 0
    peaks: list[bytes] = field(default_factory=list)

    def __post_init__(self) -> None:
        """Refuse peaks that are not those of a tree of this size."""
        if len(self.peaks) != self.size.bit_count() or any(len(peak) != HASH_BYTES for peak in self.peaks):
            raise InvalidInputError(
                f"are not the {self.size.bit_count()} peaks of a tree of {self.size} leaves", "peaks"
            )

    def copy(self) -> Frontier:
        """The same edge, apart."""
        return Frontier(self.size, list(self.peaks))

    def append(self, leaf: bytes) -> list[tuple[int, int, bytes]]:
        """Add the hash of a leaf; returns the subtrees that it completed: (level, position, root), from level 1 on."""
        made = []
        level, position = 0, self.size
        while position & 1:
            leaf = sha256(_NODE + self.peaks.pop() + leaf).digest()
            level, position = level + 1, position >> 1
            made.append((level, position, leaf))
        self.peaks.append(leaf)
        self.size += 1
        return made

    def extend(self, leaves: Iterable[bytes]) -> None:
        """Add many."""
        for leaf in leaves:
            self.append(leaf)

    def root(self) -> bytes:
        """The head of the tree."""
        if not self.peaks:
            return EMPTY_ROOT
        root = self.peaks[-1]
        for peak in reversed(self.peaks[:-1]):
            root = node_hash(peak, root)
        return root


def root_of(leaves: Iterable[bytes]) -> bytes:
    """The head of a tree over these leaf hashes."""
    tree = Frontier()
    tree.extend(leaves)
    return tree.root()


def inclusion_proof(index: int, size: int, node: NodeReader) -> list[bytes]:
    """The audit path of leaf ``index`` in the tree of ``size`` leaves, from the leaf up (RFC 6962, section 2.1.1)."""
    if not 0 <= index < size:
        raise InvalidInputError(f"there is no leaf {index} in a tree of {size}", "index")
    return _path(index, 0, size, node)


def consistency_proof(first: int, second: int, node: NodeReader) -> list[bytes]:
    """What shows that the tree of ``first`` leaves begins that of ``second`` (RFC 6962, section 2.1.2)."""
    if not 0 < first <= second:
        raise InvalidInputError(f"a tree of {first} leaves does not begin one of {second}", "first")
    return _subproof(first, 0, second, node, whole=True)


def includes(leaf: bytes, index: int, size: int, proof: Sequence[bytes], root: bytes) -> bool:
    """Whether ``proof`` shows that ``leaf`` is leaf ``index`` of the tree of this size and root (RFC 9162, 2.1.3.2)."""
    if not 0 <= index < size:
        return False
    place, last, found = index, size - 1, leaf
    for step in proof:
        if last == 0:
            return False
        if place & 1 or place == last:
            found = node_hash(step, found)
            while not place & 1 and place:
                place, last = place >> 1, last >> 1
        else:
            found = node_hash(found, step)
        place, last = place >> 1, last >> 1
    return last == 0 and found == root


def begins(first: int, first_root: bytes, second: int, second_root: bytes, proof: Sequence[bytes]) -> bool:
    """Whether ``proof`` shows that the first tree begins the second (RFC 9162, section 2.1.4.2)."""
    if first == second:
        return not proof and first_root == second_root
    if not 0 < first < second or not proof:
        return False
    steps = list(proof)
    if first.bit_count() == 1:  # a perfect tree is a node of the second, which its root stands for
        steps.insert(0, first_root)
    place, last = first - 1, second - 1
    while place & 1:
        place, last = place >> 1, last >> 1
    old = new = steps[0]
    for step in steps[1:]:
        if last == 0:
            return False
        if place & 1 or place == last:
            old, new = node_hash(step, old), node_hash(step, new)
            while not place & 1 and place:
                place, last = place >> 1, last >> 1
        else:
            new = node_hash(new, step)
        place, last = place >> 1, last >> 1
    return last == 0 and old == first_root and new == second_root


def subtree(begin: int, end: int, node: NodeReader) -> bytes:
    """The root over leaves [begin, end); ``begin`` is a multiple of the smallest power of two that holds them."""
    count = end - begin
    if count & (count - 1) == 0:
        level = count.bit_length() - 1
        return node(level, begin >> level)
    half = _split(count)
    return node_hash(subtree(begin, begin + half, node), subtree(begin + half, end, node))


def _path(index: int, begin: int, end: int, node: NodeReader) -> list[bytes]:
    if end - begin == 1:
        return []
    middle = begin + _split(end - begin)
    if index < middle:
        return [*_path(index, begin, middle, node), subtree(middle, end, node)]
    return [*_path(index, middle, end, node), subtree(begin, middle, node)]


def _subproof(first: int, begin: int, end: int, node: NodeReader, *, whole: bool) -> list[bytes]:
    """SUBPROOF of RFC 6962, section 2.1.2: of leaves [begin, end), of which the first tree has ``first``."""
    if first == end - begin:
        return [] if whole else [subtree(begin, end, node)]
    half = _split(end - begin)
    middle = begin + half
    if first <= half:
        return [*_subproof(first, begin, middle, node, whole=whole), subtree(middle, end, node)]
    return [*_subproof(first - half, middle, end, node, whole=False), subtree(begin, middle, node)]


def _split(count: int) -> int:
    """The largest power of two below ``count``."""
    return 1 << ((count - 1).bit_length() - 1)
