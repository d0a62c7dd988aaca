"""The tree of RFC 6962 and its proofs, against the vectors of Certificate Transparency and a plain definition."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from joulegate.core.errors import InvalidInputError
from joulegate.core.merkle import (
    EMPTY_ROOT,
    Frontier,
    begins,
    consistency_proof,
    includes,
    inclusion_proof,
    leaf_hash,
    node_hash,
    root_of,
)

# The reference data of the Certificate Transparency project (google/certificate-transparency,
# cpp/merkletree/merkle_tree_test.cc; also transparency-dev/merkle, testonly/constants.go), Apache-2.0.
INPUTS = ["", "00", "10", "2021", "3031", "40414243", "5051525354555657", "606162636465666768696a6b6c6d6e6f"]
ROOTS = [
    "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
    "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",
    "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77",
    "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
    "4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4",
    "76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef",
    "ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c",
    "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328",
]
INCLUSION = {
    (0, 1): [],
    (0, 8): [
        "96a296d224f285c67bee93c30f8a309157f0daa35dc5b87e410b78630a09cfc7",
        "5f083f0a1a33ca076a95279832580db3e0ef4584bdff1f54c8a360f50de3031e",
        "6b47aaf29ee3c2af9af889bc1fb9254dabd31177f16232dd6aab035ca39bf6e4",
    ],
    (5, 8): [
        "bc1a0643b12e4d2d7c77918f44e0f4f79a838b6cf9ec5b5c283e1f4d88599e6b",
        "ca854ea128ed050b41b35ffc1b87b8eb2bde461e9e3b5596ece6b9d5975a0ae0",
        "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
    ],
    (2, 3): ["fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125"],
}
CONSISTENCY = {
    (1, 1): [],
    (1, 8): INCLUSION[0, 8],
    (6, 8): [
        "0ebc5d3437fbe2db158b9f126a1d118e308181031d0a949f8dededebc558ef6a",
        "ca854ea128ed050b41b35ffc1b87b8eb2bde461e9e3b5596ece6b9d5975a0ae0",
        "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
    ],
}
LEAVES = [leaf_hash(bytes.fromhex(data)) for data in INPUTS]


class Nodes:
    """The roots of all perfect subtrees of some leaves."""

    def __init__(self, leaves: list[bytes]) -> None:
        self.kept = {(0, index): leaf for index, leaf in enumerate(leaves)}
        tree = Frontier()
        for leaf in leaves:
            self.kept |= {(level, position): root for level, position, root in tree.append(leaf)}

    def __call__(self, level: int, position: int) -> bytes:
        return self.kept[level, position]


def plain_root(leaves: list[bytes]) -> bytes:
    """Word by word what RFC 6962, section 2.1, defines."""
    if len(leaves) < 2:
        return leaves[0] if leaves else EMPTY_ROOT
    half = 1
    while half * 2 < len(leaves):
        half *= 2
    return node_hash(plain_root(leaves[:half]), plain_root(leaves[half:]))


def test_the_empty_tree_has_the_hash_of_nothing() -> None:
    assert root_of([]).hex() == "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"


@pytest.mark.parametrize("size", range(1, 9))
def test_the_published_roots_come_out(size: int) -> None:
    assert root_of(LEAVES[:size]).hex() == ROOTS[size - 1]


@pytest.mark.parametrize(("place", "proof"), INCLUSION.items())
def test_the_published_inclusion_proofs_come_out(place: tuple[int, int], proof: list[str]) -> None:
    index, size = place
    made = inclusion_proof(index, size, Nodes(LEAVES))
    assert [step.hex() for step in made] == proof
    assert includes(LEAVES[index], index, size, made, bytes.fromhex(ROOTS[size - 1]))


@pytest.mark.parametrize(("sizes", "proof"), CONSISTENCY.items())
def test_the_published_consistency_proofs_come_out(sizes: tuple[int, int], proof: list[str]) -> None:
    first, second = sizes
    made = consistency_proof(first, second, Nodes(LEAVES))
    assert [step.hex() for step in made] == proof
    assert begins(first, bytes.fromhex(ROOTS[first - 1]), second, bytes.fromhex(ROOTS[second - 1]), made)


@given(st.integers(0, 70))
def test_leaves_added_one_at_a_time_make_the_tree_that_is_defined(size: int) -> None:
    leaves = [leaf_hash(bytes([number])) for number in range(size)]
    assert root_of(leaves) == plain_root(leaves)


@given(st.data())
def test_every_proof_is_accepted_and_no_changed_one_is(data: st.DataObject) -> None:
    second = data.draw(st.integers(1, 70))
    leaves = [leaf_hash(bytes([number])) for number in range(second)]
    nodes, roots = Nodes(leaves), [root_of(leaves[:size]) for size in range(second + 1)]
    index, first = data.draw(st.integers(0, second - 1)), data.draw(st.integers(1, second))
    path, steps = inclusion_proof(index, second, nodes), consistency_proof(first, second, nodes)
    assert includes(leaves[index], index, second, path, roots[second])
    assert begins(first, roots[first], second, roots[second], steps)
    other = leaf_hash(b"other")
    assert not includes(other, index, second, path, roots[second])
    assert not includes(leaves[index], index, second, [*path, other], roots[second])
    assert not includes(leaves[index], (index + 1) % second, second, path, roots[second]) or second == 1
    assert not begins(first, other, second, roots[second], steps)
    assert not begins(first, roots[first], second, roots[second], [*steps, other])
    for place in range(len(path)):
        assert not includes(leaves[index], index, second, [*path[:place], other, *path[place + 1 :]], roots[second])
    for place in range(len(steps)):
        assert not begins(first, roots[first], second, roots[second], [*steps[:place], other, *steps[place + 1 :]])


def test_what_is_not_in_the_tree_has_no_proof() -> None:
    with pytest.raises(InvalidInputError, match="no leaf 8"):
        inclusion_proof(8, 8, Nodes(LEAVES))
    with pytest.raises(InvalidInputError, match="does not begin"):
        consistency_proof(9, 8, Nodes(LEAVES))


def test_peaks_of_another_size_are_refused() -> None:
    with pytest.raises(InvalidInputError, match="peaks"):
        Frontier(3, [EMPTY_ROOT])
