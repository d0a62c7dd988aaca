"""Every change of a bundle shows, and no good bundle is refused."""

from __future__ import annotations

import random
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from joulegate import bundles, signing
from joulegate.core.checkpoints import Checkpoint, Note
from joulegate.core.errors import InvalidInputError, UnavailableError
from joulegate.core.log import EntryType, canonical
from joulegate.core.merkle import leaf_hash
from joulegate.verification import Given, verify
from tests.plugin.bundled import ORIGIN, Log, charged_body, lines_of, window_body, write_bundle, zipped

Mutation = Callable[[bytes, random.Random], bytes]


@pytest.fixture
def log() -> Log:
    return Log()


@pytest.fixture
def folder(log: Log, tmp_path: Path) -> Path:
    return write_bundle(tmp_path / "bundle", log, lines_of(log, 14, batches=2))


def is_caught(path: Path, given: Given) -> bool:
    """Whether verify ends with another status than 0, as the command decides it."""
    try:
        return not verify(path, given).good
    except (UnavailableError, InvalidInputError):
        return True


def flip(data: bytes, chance: random.Random) -> bytes:
    place, bit = chance.randrange(len(data)), 1 << chance.randrange(8)
    return data[:place] + bytes([data[place] ^ bit]) + data[place + 1 :]


def insert(data: bytes, chance: random.Random) -> bytes:
    place = chance.randrange(len(data) + 1)
    return data[:place] + bytes([chance.randrange(256)]) + data[place:]


def delete(data: bytes, chance: random.Random) -> bytes:
    place = chance.randrange(len(data))
    return data[:place] + data[place + 1 + chance.randrange(40) :]


def truncate(data: bytes, chance: random.Random) -> bytes:
    return data[: chance.randrange(len(data))]


def swap_lines(data: bytes, chance: random.Random) -> bytes:
    lines = data.splitlines(keepends=True)
    if len(lines) < 2:
        return data + data
    one, other = chance.sample(range(len(lines)), 2)
    lines[one], lines[other] = lines[other], lines[one]
    return b"".join(lines)


def drop_line(data: bytes, chance: random.Random) -> bytes:
    lines = data.splitlines(keepends=True)
    del lines[chance.randrange(len(lines))]
    return b"".join(lines)


def repeat_line(data: bytes, chance: random.Random) -> bytes:
    lines = data.splitlines(keepends=True)
    place = chance.randrange(len(lines))
    return b"".join([*lines[:place], lines[place], *lines[place:]])


def change_digit(data: bytes, chance: random.Random) -> bytes:
    digits = [place for place, byte in enumerate(data) if chr(byte).isdigit()]
    if not digits:
        return data + b"1"
    place = chance.choice(digits)
    return data[:place] + str((int(chr(data[place])) + 1 + chance.randrange(9)) % 10).encode() + data[place + 1 :]


MUTATIONS: tuple[Mutation, ...] = (
    flip,
    insert,
    delete,
    truncate,
    swap_lines,
    drop_line,
    repeat_line,
    change_digit,
)


def test_a_bundle_is_good_as_a_folder_and_as_a_zip(folder: Path, log: Log, tmp_path: Path) -> None:
    given = Given(str(log.key.verifier))
    for path in (folder, zipped(folder, tmp_path / "bundle.zip")):
        verdict = verify(path, given)
        assert [check.faults for check in verdict.checks if not check.passed] == []
        assert verdict.good


def mutated(folder: Path, log: Log, each: int, chance: random.Random) -> tuple[int, list[str]]:
    """Change every member ``each`` times in every way; how many changes that made, and which were not caught."""
    given = Given(str(log.key.verifier))
    made, missed = 0, []
    for name in bundles.MEMBERS:
        path = folder / name
        data = path.read_bytes()
        for mutation in MUTATIONS:
            for number in range(each if data else 0):
                changed = mutation(data, chance)
                if changed == data:
                    continue
                made += 1
                path.write_bytes(changed)
                if not is_caught(folder, given):
                    missed.append(f"{name}: {mutation.__name__} {number}")
        path.write_bytes(data)
    assert verify(folder, given).good
    return made, missed


def test_changes_of_members_are_caught(folder: Path, log: Log) -> None:
    _, missed = mutated(folder, log, 3, random.Random(1))  # noqa: S311 -- changes are drawn, not secrets
    assert missed == []


@pytest.mark.slow
@pytest.mark.timeout(180)
def test_ten_thousand_changes_are_caught(folder: Path, log: Log, tmp_path: Path) -> None:
    chance, given = random.Random(20261124), Given(str(log.key.verifier))  # noqa: S311 -- as above
    made, missed = mutated(folder, log, 190, chance)
    path = zipped(folder, tmp_path / "bundle.zip")
    data = path.read_bytes()
    ways = (flip, insert, delete, truncate, change_digit)
    for number in range(3_500):
        changed = ways[number % len(ways)](data, chance)
        path.write_bytes(changed)
        made += changed != data
        if changed != data and not is_caught(path, given):
            missed.append(f"zip: {number}")
    assert made >= 10_000
    assert missed == []


@pytest.mark.slow
@pytest.mark.timeout(180)
def test_a_thousand_good_bundles_pass(tmp_path: Path) -> None:
    refused = []
    for number in range(1_000):
        log = Log(writers=1 + number % 5)
        count, batches = 3 + number % 17, number % 3
        folder = write_bundle(tmp_path / "bundle", log, lines_of(log, count, min(number % 4, count - 2), batches))
        path = folder if number % 2 else zipped(folder, tmp_path / "bundle.zip")
        if is_caught(path, Given(str(log.key.verifier))):
            refused.append(number)
        shutil.rmtree(folder)
    assert refused == []


def test_a_charge_that_does_not_follow_from_its_windows_is_told_though_the_log_is_signed(tmp_path: Path) -> None:
    for more in (0, 1):
        log = Log()
        rows = [window_body(seq) for seq in range(4)]
        log.batches.append(canonical(rows))
        body = charged_body(rows, leaf_hash(log.batches[0]).hex())
        posted = body["charges"][0]["posted"]
        posted["mj"] = str(int(posted["mj"]) + more)
        lines = [log.key_event(), log.line(EntryType.WINDOWS, "node:log/0", body)]
        verdict = verify(write_bundle(tmp_path / str(more), log, lines), Given(str(log.key.verifier)))
        failed = [check.name for check in verdict.checks if not check.passed]
        assert failed == ["each charge of windows added up and priced again from the windows themselves"] * more


@pytest.mark.parametrize("name", bundles.MEMBERS)
def test_members_missing_renamed_or_added_are_caught(folder: Path, log: Log, name: str) -> None:
    given = Given(str(log.key.verifier))
    (folder / name).rename(folder / f"{name}2")
    assert is_caught(folder, given)
    (folder / f"{name}2").rename(folder / name)
    assert verify(folder, given).good
    (folder / "more").write_bytes(b"")
    assert is_caught(folder, given)


def test_another_log_signed_by_another_key_is_not_this_one(log: Log, tmp_path: Path) -> None:
    other = Log()
    path = write_bundle(tmp_path / "other", other, lines_of(other, 12))
    assert verify(path, Given(str(other.key.verifier))).good
    assert not verify(path, Given(str(log.key.verifier))).good


def test_a_key_swapped_for_another_that_signs_the_same_root_is_caught(folder: Path, log: Log) -> None:
    thief = signing.new_key(ORIGIN)
    head = Checkpoint(ORIGIN, log.tree.size, log.tree.root())
    (folder / bundles.CHECKPOINT).write_text(str(signing.signed(head, [thief])), encoding="utf-8")
    (folder / bundles.KEYS).write_text(f"{thief.verifier}\n", encoding="utf-8")
    assert is_caught(folder, Given(allow_bundled_key=True))
    assert is_caught(folder, Given(str(log.key.verifier)))


def test_an_older_checkpoint_is_caught_by_the_anchor(log: Log, tmp_path: Path) -> None:
    lines = list(lines_of(log, 6))
    folder = write_bundle(tmp_path / "bundle", log, lines)
    anchor = tmp_path / "anchor"
    log.line(EntryType.DECISION, "later", {})
    head = Checkpoint(ORIGIN, log.tree.size, log.tree.root())
    anchor.write_text(str(signing.signed(head, [log.key])), encoding="utf-8")
    given = Given(str(log.key.verifier), anchor=anchor)
    assert verify(folder, Given(str(log.key.verifier))).good
    assert verify(folder, given).anchor == "inconsistent"
    assert not verify(folder, given).good


def test_a_split_view_is_caught_by_the_earlier_bundle(tmp_path: Path) -> None:
    log = Log()
    first = write_bundle(tmp_path / "first", log, lines_of(log, 6))
    other = Log(key=log.key)
    second = write_bundle(tmp_path / "second", other, lines_of(other, 9, 1))
    verdict = verify(second, Given(str(log.key.verifier), previous=first))
    assert (verdict.good, verdict.previous) == (False, "inconsistent")


def test_bodies_may_be_pruned_only_where_the_log_says_so(log: Log, tmp_path: Path) -> None:
    for retained in (True, False):
        own = Log(key=log.key)
        lines = list(lines_of(own, 9, 0))
        if retained:
            lines.append(own.line(EntryType.RETENTION, "3", {"before_index": "3"}))
        folder = write_bundle(tmp_path / str(retained), own, lines)
        # The decision at index 1 is in the report, so only a report of another day can do without it.
        text = (folder / bundles.ENTRIES).read_bytes().splitlines(keepends=True)
        assert b'"type":"decision"' in text[1]
        verdict = verify(folder, Given(str(log.key.verifier)))
        assert verdict.good
        digest = bundles.pruned_line(leaf_hash(text[1][:-1]))
        (folder / bundles.ENTRIES).write_bytes(b"".join([text[0], digest, *text[2:]]))
        verdict = verify(folder, Given(str(log.key.verifier)))
        chains = next(check for check in verdict.checks if check.name.startswith("every entry is canonical"))
        assert chains.passed is retained
        assert verdict.pruned == 1


def test_what_is_no_bundle_is_unreadable(tmp_path: Path) -> None:
    (tmp_path / "text").write_text("text")
    for path in (tmp_path / "text", tmp_path / "nothing"):
        with pytest.raises(UnavailableError):
            verify(path, Given())


def test_a_rotated_key_is_followed_from_the_pinned_one(tmp_path: Path) -> None:
    log = Log()
    new = signing.new_key(ORIGIN)
    lines = list(lines_of(log, 6))
    old_key, after = log.key, str(log.key.verifier)
    statement = signing.key_statement(str(new.verifier), after)
    note = str(Note(statement, (new.sign(statement), old_key.sign(statement))))
    body = {"key": str(new.verifier), "after": after, "statement": note}
    lines.append(log.line(EntryType.KEY_EVENT, str(new.verifier), body))
    log.key = new
    folder = write_bundle(tmp_path / "bundle", log, lines)
    assert verify(folder, Given(after)).good
    assert verify(folder, Given(str(new.verifier))).good
    assert not verify(folder, Given(str(signing.new_key(ORIGIN).verifier))).good
