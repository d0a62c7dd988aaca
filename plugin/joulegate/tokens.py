"""Tokens and the rows of ``JOULEGATE_TOKENS_FILE``: who may do what, and where.

A row has four columns between blanks: the hash of a token, the principal, roles,
and grants. A token itself is written nowhere but at its owner's::

    # token_hash   principal   roles           grants
    sha256:4d2c... alice       reader,member   vision,local/speech@berlin

A grant is ``[CLUSTER/]NAMESPACE[@SITE]`` with ``*`` for any part, and ``*`` alone
for everything. Left out, cluster and site are those that the API runs in.
"""

from __future__ import annotations

import re
import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from hashlib import sha256
from typing import Final

from joulegate.core.errors import InvalidInputError

_PREFIX: Final = "jg_"
_RANDOM_BYTES: Final = 32  # 256 bits cannot be guessed, so a plain hash is enough: there is nothing to stretch
_HASH: Final = re.compile(r"sha256:[0-9a-f]{64}")
_PRINCIPAL: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:@/-]{0,252}")
_PART: Final = r"(?:\*|[A-Za-z0-9][A-Za-z0-9._-]{0,252})"
_GRANT: Final = re.compile(rf"(?:({_PART})/)?({_PART})(?:@({_PART}))?")
_COLUMNS: Final = 4


class Role(StrEnum):
    """What a principal may do; :mod:`joulegate_api.auth` says which routes each opens."""

    READER = "reader"
    MEMBER = "member"
    BUDGET_OWNER = "budget_owner"
    APPROVER = "approver"
    EDITOR = "editor"
    OPERATOR = "operator"
    METER = "meter"
    AUDITOR = "auditor"
    ADMIN = "admin"


@dataclass(frozen=True, slots=True)
class Grant:
    """Where a principal may act; ``*`` is anywhere, None is where the API runs."""

    namespace: str
    cluster: str | None = None
    site: str | None = None

    def __str__(self) -> str:
        """As it is written in a row."""
        if self == EVERYTHING:
            return "*"
        cluster = f"{self.cluster}/" if self.cluster else ""
        return cluster + self.namespace + (f"@{self.site}" if self.site else "")


EVERYTHING: Final = Grant("*", "*", "*")


@dataclass(frozen=True, slots=True)
class TokenRow:
    """One principal and the token that proves it."""

    token_hash: str
    principal: str
    roles: frozenset[Role]
    grants: tuple[Grant, ...]


def new_token() -> str:
    """A fresh token: 256 random bits."""
    return _PREFIX + secrets.token_urlsafe(_RANDOM_BYTES)


def hash_of(token: str) -> str:
    """What is kept of a token."""
    return "sha256:" + sha256(token.encode()).hexdigest()


def format_row(row: TokenRow) -> str:
    """One line, without its end."""
    roles = ",".join(sorted(row.roles))
    return " ".join((row.token_hash, row.principal, roles, ",".join(str(grant) for grant in row.grants)))


def read_rows(text: str, file: str) -> tuple[TokenRow, ...]:
    """The rows of a file; a line that is not one raises :class:`InvalidInputError` naming ``file:line``."""
    rows = [
        _row(line, f"{file}:{number}")
        for number, line in enumerate(text.splitlines(), start=1)
        if line.strip() and not line.lstrip().startswith("#")
    ]
    hashes = [row.token_hash for row in rows]
    for row in rows:
        if hashes.count(row.token_hash) > 1:
            raise InvalidInputError(f"two rows have the token of {row.principal}", file)
    return tuple(rows)


def row_of(token_hash: str, principal: str, roles: Sequence[str], grants: Sequence[str], where: str) -> TokenRow:
    """A row of checked parts; ``where`` is named in the :class:`InvalidInputError` of a bad one."""
    if not _HASH.fullmatch(token_hash):
        raise InvalidInputError("the first column is not sha256: and 64 hexadecimal digits", where)
    if not _PRINCIPAL.fullmatch(principal):
        raise InvalidInputError(f"{principal[:60]!r} is not a name of a principal", where)
    known = set(Role)
    for role in roles:
        if role not in known:
            raise InvalidInputError(f"{role[:60]!r} is not a role; roles are {', '.join(Role)}", where)
    return TokenRow(
        token_hash, principal, frozenset(Role(role) for role in roles), tuple(_grant(text, where) for text in grants)
    )


def _row(line: str, where: str) -> TokenRow:
    columns = line.split()
    if len(columns) != _COLUMNS:
        raise InvalidInputError("a row is: token hash, principal, roles, grants", where)
    token_hash, principal, roles, grants = columns
    return row_of(token_hash, principal, roles.split(","), grants.split(","), where)


def _grant(text: str, where: str) -> Grant:
    if text == "*":
        return EVERYTHING
    match = _GRANT.fullmatch(text)
    if match is None:
        raise InvalidInputError(f"{text[:60]!r} is not a grant such as vision or local/vision@berlin", where)
    cluster, namespace, site = match.groups()
    return Grant(namespace, cluster, site)
