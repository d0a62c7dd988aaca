"""What ``joulegate verify`` does: checks a bundle offline, believing nothing but a key.

Every byte of a bundle is a leaf that the signed root covers, or follows from
leaves: entries make the tree, the tree has the root, the root has signatures,
keys are entries, the report is recomputed from entries, the manifest says what
is known from all of these. So any change of any byte shows.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import partial
from hashlib import sha256
from pathlib import Path
from typing import Any, Final

from joulegate import bundles, signing
from joulegate.bundles import CHECKPOINT, ENTRIES, KEYS, MANIFEST, REPORT, WINDOWS, Bundle
from joulegate.core.charged import Charged
from joulegate.core.checkpoints import Checkpoint, Note, VerifierKey, read_checkpoint, read_key, read_note
from joulegate.core.encoding import decode, encode
from joulegate.core.errors import InvalidInputError, NotFoundError, UnavailableError
from joulegate.core.leaves import Leaves
from joulegate.core.log import canonical, read_canonical
from joulegate.core.merkle import leaf_hash
from joulegate.core.recount import Recount, Reported
from joulegate.packs import embodied_figures, embodied_sha256, pack_named

BUNDLE_VERSION: Final = "1"
MOST_FAULTS: Final = 20
"""Faults of one check that are told one by one."""

_MANIFEST_FIELDS: Final = {"bundle", "members", "origin", "report_id", "reported", "root", "tree_size"}


@dataclass(slots=True)
class Check:
    """One thing that was looked at: over how many items, and what is wrong."""

    name: str
    items: int = 0
    faults: list[str] = field(default_factory=list)

    def fail(self, fault: str) -> None:
        """Tell of a fault; beyond a bound they are only counted."""
        if len(self.faults) == MOST_FAULTS:
            self.faults.append("and more")
        elif len(self.faults) < MOST_FAULTS:
            self.faults.append(fault)

    @property
    def passed(self) -> bool:
        """Whether nothing is wrong."""
        return not self.faults


@dataclass(frozen=True, slots=True)
class Given:
    """What the auditor brings along: a key, an earlier bundle, a checkpoint from an anchor; None is absent."""

    key: str | None = None
    allow_bundled_key: bool = False
    previous: Path | None = None
    anchor: Path | None = None


@dataclass(slots=True)
class Verdict:
    """What was found. Good is only what passed every check under a key that the auditor chose to believe."""

    bundle: str
    authenticity: str = "unproven"
    key: str | None = None
    origin: str | None = None
    tree_size: int | None = None
    root: str | None = None
    previous: str = "absent"
    anchor: str = "absent"
    pruned: int = 0
    report_id: str | None = None
    report_digest: str | None = None
    told: dict[str, int] = field(default_factory=dict)
    checks: list[Check] = field(default_factory=list)

    @property
    def intact(self) -> bool:
        """Whether nothing is wrong with what is there."""
        return all(check.passed for check in self.checks)

    @property
    def good(self) -> bool:
        """Intact, and signed by a key that is believed."""
        return self.intact and self.authenticity != "unproven"

    def check(self, name: str) -> Check:
        """Begin another check."""
        self.checks.append(Check(name))
        return self.checks[-1]

    def written(self) -> dict[str, Any]:
        """As JSON."""
        checks = [{"name": c.name, "items": c.items, "passed": c.passed, "faults": c.faults} for c in self.checks]
        state = "good" if self.good else "unproven" if self.intact else "tampered"
        names = ("bundle", "authenticity", "key", "origin", "tree_size", "root", "previous", "anchor", "pruned")
        found = {name: getattr(self, name) for name in (*names, "report_id", "report_digest")}
        return {"verdict": state, **found, "entries_by_type": dict(sorted(self.told.items())), "checks": checks}


def verify(path: Path, given: Given) -> Verdict:
    """Check a bundle.

    Raises :class:`~joulegate.core.errors.UnavailableError` where a file cannot be
    read at all, :class:`InvalidInputError` where the given key is none.
    """
    pinned = read_key(given.key) if given.key is not None else None
    verdict = Verdict(str(path))
    form = verdict.check("the bundle has the one form that it can have")
    try:
        with bundles.opened(path) as bundle:
            form.items = len(bundles.MEMBERS)
            _Reading(bundle, verdict, given).run(pinned)
    except InvalidInputError as error:
        form.fail(str(error))
    return verdict


@dataclass(frozen=True, slots=True)
class _Manifest:
    origin: str
    size: int
    root: str
    report_id: str
    reported: Reported
    members: dict[str, dict[str, str]]


class _Reading:
    """One bundle being checked; what cannot be read at all is raised, what is wrong is told."""

    def __init__(self, bundle: Bundle, verdict: Verdict, given: Given) -> None:
        self._bundle = bundle
        self._verdict = verdict
        self._given = given
        self._manifest = _read_manifest(bundle.read(MANIFEST))

    def run(self, pinned: VerifierKey | None) -> None:
        """Check all of it."""
        manifest, verdict = self._manifest, self._verdict
        note = read_note(_text(self._bundle.read(CHECKPOINT), CHECKPOINT))
        head = read_checkpoint(note)
        verdict.origin, verdict.tree_size, verdict.root = head.origin, head.size, head.root.hex()
        verdict.report_id = manifest.report_id
        told = verdict.check("the manifest names the tree of the checkpoint")
        if (manifest.origin, manifest.size, manifest.root) != (head.origin, head.size, head.root.hex()):
            told.fail("origin, tree size or root differ")
        before = self._published(self._given.previous, "previous")
        outside = self._published(self._given.anchor, "anchor")
        leaves = self._entries(head, [each[1].size for each in (before, outside) if each is not None])
        keys = self._keys(note, leaves)
        trusted = self._trusted(keys, leaves, pinned)
        verdict.previous = self._follows(head, before, "the previous bundle", trusted, leaves)
        verdict.anchor = self._follows(head, outside, "the anchor", trusted, leaves)
        self._windows(leaves)
        self._report(leaves)

    def _entries(self, head: Checkpoint, sizes: list[int]) -> Leaves:
        members = self._verdict.check("every member has the size and hash of the manifest")
        for name in (CHECKPOINT, KEYS, REPORT, WINDOWS):
            digest = sha256()
            for piece in self._bundle.pieces(name):
                digest.update(piece)
            self._compare(members, name, digest.hexdigest())
        digest = sha256()

        def pieces() -> Any:  # noqa: ANN401 -- an iterator that also hashes
            for piece in self._bundle.pieces(ENTRIES):
                digest.update(piece)
                yield piece

        leaves = Leaves(head.origin.rpartition("/")[2], recount_of(self._manifest.reported), sizes)
        whole = self._verdict.check("every entry is canonical and follows the one before it of its writer")
        for line in self._bundle.lines(ENTRIES, pieces()):
            fault = leaves.add(line)
            if fault is not None:
                whole.fail(fault)
        whole.items = leaves.tree.size
        for fault in leaves.closing_faults():
            whole.fail(fault)
        self._compare(members, ENTRIES, digest.hexdigest())
        tree = self._verdict.check("the entries make the tree that is signed")
        tree.items = leaves.tree.size
        if (leaves.tree.size, leaves.tree.root()) != (head.size, head.root):
            tree.fail(f"{leaves.tree.size} entries with root {leaves.tree.root().hex()}")
        self._verdict.pruned, self._verdict.told = leaves.pruned, leaves.types
        return leaves

    def _compare(self, check: Check, name: str, digest: str) -> None:
        check.items += 1
        if self._manifest.members[name] != {"sha256": digest, "size": str(self._bundle.size(name))}:
            check.fail(f"{name} differs")

    def _keys(self, note: Note, leaves: Leaves) -> list[VerifierKey]:
        """The keys of the bundle: each signed the checkpoint, and each is told of by an entry."""
        lines = _text(self._bundle.read(KEYS), KEYS)
        keys = [read_key(line) for line in lines.splitlines()]
        check = self._verdict.check("every signature is of a key that the log tells of")
        check.items = len(note.signatures)
        if lines != "".join(f"{key}\n" for key in keys) or not keys:
            check.fail("the keys are not one a line")
        signed = map(partial(signing.is_signed, note.text), note.signatures, reversed(keys))
        if len(note.signatures) != len(keys) or not all(signed):
            check.fail("the checkpoint is not signed by each key once, the newest first")
        if [str(key) for key in keys] != [key for key in leaves.keys if key in lines.splitlines()]:
            check.fail("the keys are not in the order in which the log tells of them")
        origin = self._manifest.origin
        check.faults += [f"{key.name} signs for another log" for key in keys if key.name != origin]
        check.faults += [f"the log does not tell of {key}" for key in keys if str(key) not in leaves.keys]
        for body in leaves.keys.values():
            if not _is_stated(body):
                check.fail(f"the entry of {body.get('key')} is not signed by it and the key before it")
        return keys

    def _trusted(self, keys: list[VerifierKey], leaves: Leaves, pinned: VerifierKey | None) -> list[VerifierKey]:
        """The keys that are believed: the pinned one and those that follow it, or those of the bundle itself."""
        if pinned is None:
            if self._given.allow_bundled_key:
                self._verdict.authenticity, self._verdict.key = "bundled key", str(keys[0]) if keys else None
            return keys
        check = self._verdict.check("the checkpoint is signed by the pinned key, or one that it handed over to")
        check.items = 1
        followers = [str(pinned)]
        for key, body in leaves.keys.items():  # in the order of the log
            if body["after"] in followers and _is_stated(body):
                followers.append(key)
        signers = [key for key in keys if str(key) in followers]
        if not signers:
            check.fail("it is not")
        else:
            self._verdict.authenticity, self._verdict.key = "pinned key", str(pinned)
        return [read_key(key) for key in followers]

    def _published(self, path: Path | None, what: str) -> tuple[Note, Checkpoint] | None:
        """The checkpoint of an earlier bundle, or of an anchor's file."""
        if path is None:
            return None
        if what == "previous":
            with bundles.opened(path) as bundle:
                text = bundle.read(CHECKPOINT)
        else:
            try:
                text = path.read_bytes()
            except OSError as error:
                raise UnavailableError(f"cannot read {path}: {error.strerror or error}") from error
        note = read_note(_text(text, what))
        return note, read_checkpoint(note)

    def _follows(
        self,
        head: Checkpoint,
        published: tuple[Note, Checkpoint] | None,
        what: str,
        trusted: list[VerifierKey],
        leaves: Leaves,
    ) -> str:
        if published is None:
            return "absent"
        note, before = published
        check = self._verdict.check(f"the log begins with that of {what}")
        check.items = 1
        if before.origin != head.origin or not any(signing.is_note_of(note, key) for key in trusted):
            check.fail("it is of another log, or not signed by a key that is believed")
        elif before.size > head.size:
            check.fail(f"it knows {before.size} leaves, and this bundle has {head.size}: entries may have been lost")
        elif leaves.roots.get(before.size) != before.root:
            lost = " (the log says that a loss was accepted)" if str(note) in leaves.lost else ""
            check.fail(f"the first {before.size} leaves are others{lost}")
        return "consistent" if check.passed else "inconsistent"

    def _windows(self, leaves: Leaves) -> None:
        """Each line is the batch whose hash an entry holds."""
        check = self._verdict.check("every batch of windows is the one that its entry names")
        charges = self._verdict.check("each charge of windows added up and priced again from the windows themselves")
        charged = Charged(leaves.recount.rates)
        named = iter(leaves.batches)
        for line in self._bundle.lines(WINDOWS):
            check.items += 1
            digest, at, body = next(named, ("", "", {}))
            if leaf_hash(line).hex() != digest:
                check.fail(f"batch {check.items - 1} differs")
                continue
            try:
                rows = read_canonical(line)
                leaves.recount.add_windows(at, body, rows)
            except InvalidInputError as error:
                check.fail(f"batch {check.items - 1} {error}")
                continue
            charged.windows(body, rows)
        if next(named, None) is not None:
            check.fail("batches are missing")
        for body in leaves.repriced:
            charged.repriced(body)
        charges.items = charged.items
        for fault in (*charged.faults, *(() if leaves.pruned else charged.closing_faults())):
            charges.fail(fault)

    def _report(self, leaves: Leaves) -> None:
        """The report is recomputed from entries and compared to the byte; the log says that it was made."""
        check = self._verdict.check("the report recomputes from the entries to the last byte")
        data = self._bundle.read(REPORT, most=1 << 30)
        try:
            report = leaves.recount.report()
        except InvalidInputError as error:
            check.fail(str(error))
            return
        check.items = len(report.runs)
        self._verdict.report_digest = report.digest
        if canonical(encode(report)) + b"\n" != data:
            hint = "; bodies of entries were pruned" if leaves.pruned else ""
            check.fail(f"recomputed, its digest is {report.digest}, and its bytes are others{hint}")
        for again in report.checks:
            check.faults += [f"{again.name}: {difference}" for difference in again.differences[:MOST_FAULTS]]
        made = {"digest": report.digest, **encode(self._manifest.reported)}
        if made not in leaves.reports.get(self._manifest.report_id, []):
            check.fail("the log does not tell that this report was made")


def recount_of(reported: Reported) -> Recount:
    """An empty recount; published tables that stand beside come with this package, and must be those that were meant.

    Raises :class:`InvalidInputError` where this package has no such table, or another one of its name.
    """
    embodied = reported.query.embodied
    if embodied is not None and embodied.figures_sha256 != embodied_sha256():
        raise InvalidInputError("this package has another table of embodied figures", "embodied")
    figures = () if embodied is None else embodied_figures()
    against = reported.query.against
    if against is None:
        return Recount(reported, figures=figures)
    try:
        pack = pack_named(against.name)
    except NotFoundError as error:
        raise InvalidInputError(str(error), "against") from None
    if pack.rows_sha256 != against.rows_sha256:
        raise InvalidInputError(f"this package has another pack {against.name}", "against")
    return Recount(reported, pack.beside(), figures)


def manifest_of(head: Checkpoint, report_id: str, reported: Reported, members: dict[str, tuple[str, int]]) -> bytes:
    """The manifest: what the bundle is of, and the hash and size of each other member."""
    told = {name: {"sha256": digest, "size": str(size)} for name, (digest, size) in members.items()}
    body = {
        "bundle": BUNDLE_VERSION,
        "members": told,
        "origin": head.origin,
        "report_id": report_id,
        "reported": encode(reported),
        "root": head.root.hex(),
        "tree_size": str(head.size),
    }
    return canonical(body) + b"\n"


def _read_manifest(data: bytes) -> _Manifest:
    if not data.endswith(b"\n"):
        raise InvalidInputError("does not end in a newline", MANIFEST)
    fields = read_canonical(data[:-1])
    members = {CHECKPOINT, ENTRIES, KEYS, REPORT, WINDOWS}
    if not isinstance(fields, dict) or set(fields) != _MANIFEST_FIELDS or fields["bundle"] != BUNDLE_VERSION:
        raise InvalidInputError(f"is no manifest of version {BUNDLE_VERSION}", MANIFEST)
    if not isinstance(fields["members"], dict) or set(fields["members"]) != members:
        raise InvalidInputError("names other members than a bundle has", MANIFEST)
    if not str(fields["tree_size"]).isdigit() or not isinstance(fields["report_id"], str):
        raise InvalidInputError("has a size or an id of another form", MANIFEST)
    reported = decode(Reported, fields["reported"])
    if encode(reported) != fields["reported"]:
        raise InvalidInputError("is written otherwise than it is read", MANIFEST)
    size = int(fields["tree_size"])
    found = _Manifest(fields["origin"], size, fields["root"], fields["report_id"], reported, fields["members"])
    if str(size) != fields["tree_size"]:
        raise InvalidInputError("has a size that is not written the one way that it can be", MANIFEST)
    return found


def _is_stated(body: dict[str, Any]) -> bool:
    """Whether the entry of a key holds a statement that the key and the one before it signed."""
    try:
        key, after = read_key(body["key"]), body["after"]
        note = read_note(body["statement"])
        signers = [key] if after is None else [key, read_key(after)]
        stated = note.text == signing.key_statement(str(key), after)
        return stated and all(signing.is_note_of(note, each) for each in signers)
    except (InvalidInputError, KeyError, TypeError, AttributeError):
        return False


def _text(data: bytes, what: str) -> str:
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError as error:
        raise InvalidInputError("is not UTF-8", what) from error
