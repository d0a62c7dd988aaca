"""The log over HTTP: checkpoints, entries and proofs, for auditors."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from fastapi import APIRouter, Request
from fastapi.responses import JSONResponse, PlainTextResponse

from joulegate.core.errors import InvalidInputError, NotFoundError, NotPermittedError
from joulegate.core.merkle import HASH_BYTES
from joulegate.schema import STRICT
from joulegate_api.auth import Principal
from joulegate_api.bodies import Body
from joulegate_api.context import Caller, Parts, answer

router = APIRouter(tags=["log"])

LARGEST_PAGE: Final = 1_000


@dataclass(frozen=True, slots=True)
class EntriesQuery:
    """Which entries: at most ``limit`` from index ``start`` on."""

    __pydantic_config__ = STRICT
    start: str = "0"
    limit: str = "100"


@dataclass(frozen=True, slots=True)
class ProofQuery:
    """What is to be proved: a leaf (by index or hash) in the tree of a size, or that one tree begins another."""

    __pydantic_config__ = STRICT
    leaf_index: str | None = None
    leaf_hash: str | None = None
    tree_size: str | None = None
    first: str | None = None
    second: str | None = None


ENTRIES: Final = Body(EntriesQuery)
PROOF: Final = Body(ProofQuery)


@router.get("/v1/log/checkpoint")
def get_checkpoint(parts: Parts) -> PlainTextResponse:
    """The newest signed checkpoint: a C2SP signed note."""
    newest = parts.store.log.newest()
    if newest is None:
        raise NotFoundError("no checkpoint was signed yet")
    return PlainTextResponse(newest.note)


@router.get("/v1/log/entries")
def get_entries(request: Request, parts: Parts, caller: Caller) -> JSONResponse:
    """Entries in the order of the log, each as its canonical text; null where its body was pruned."""
    _require_all(caller)
    asked = ENTRIES.read_parameters(request.query_params.multi_items())
    start, limit = _whole(asked.start, "start"), min(_whole(asked.limit, "limit"), LARGEST_PAGE)
    size = parts.store.log.head().size
    found = [
        {"index": leaf.index, "leaf_hash": leaf.leaf_hash.hex(), "data": leaf.data and leaf.data.decode()}
        for leaf in parts.store.log.leaves(start, min(size, start + limit))
    ]
    return answer({"tree_size": size, "entries": found})


@router.get("/v1/log/proof")
def get_proof(request: Request, parts: Parts, caller: Caller) -> JSONResponse:
    """An inclusion proof (leaf_index or leaf_hash, tree_size) or a consistency proof (first, second) of RFC 6962."""
    _require_all(caller)
    asked = PROOF.read_parameters(request.query_params.multi_items())
    log = parts.store.log
    if asked.first is not None and asked.second is not None:
        first, second = _whole(asked.first, "first"), _whole(asked.second, "second")
        hashes = log.consistency(first, second)
        roots = {"first_root": log.root_at(first).hex(), "second_root": log.root_at(second).hex()}
        return answer({"first": first, "second": second, **roots, "hashes": [each.hex() for each in hashes]})
    if (asked.leaf_index is None) == (asked.leaf_hash is None):
        raise InvalidInputError("give leaf_index or leaf_hash, or first and second", "leaf_index")
    size = log.head().size if asked.tree_size is None else _whole(asked.tree_size, "tree_size")
    index = log.index_of(_hash(asked.leaf_hash)) if asked.leaf_hash else _whole(asked.leaf_index or "", "leaf_index")
    leaf, hashes = log.inclusion(index, size)
    found = {"leaf_index": index, "tree_size": size, "leaf_hash": leaf.hex(), "root": log.root_at(size).hex()}
    return answer({**found, "hashes": [each.hex() for each in hashes]})


def _require_all(caller: Principal) -> None:
    """Entries are of every namespace."""
    if not caller.sees_everything:
        raise NotPermittedError(f"{caller.name} sees some namespaces only, and the log is of all")


def _whole(text: str, name: str) -> int:
    if not (text.isascii() and text.isdigit() and len(text) < len(str(2**63))):
        raise InvalidInputError("must be a whole number", name)
    return int(text)


def _hash(text: str) -> bytes:
    try:
        found = bytes.fromhex(text)
    except ValueError:
        found = b""
    if len(found) != HASH_BYTES:
        raise InvalidInputError("must be a hash of 32 bytes in hex", "leaf_hash")
    return found
