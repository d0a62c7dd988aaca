"""What the commands that ask the API share: queries, and pages that are read to their end."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode

if TYPE_CHECKING:
    from joulegate.client import Client


def query(**parameters: str | int | None) -> str:
    """The query of an address; what is None is left out."""
    given = {name: value for name, value in parameters.items() if value is not None}
    return "?" + urlencode(given) if given else ""


def pages(client: Client, path: str, key: str, most: int, **parameters: str | int | None) -> Iterator[dict[str, Any]]:
    """At most ``most`` items of a list, over as many pages as that takes."""
    cursor: str | None = None
    while most > 0:
        page = client.get(path + query(**parameters, limit=min(most, 1_000), cursor=cursor))
        yield from page[key]
        most -= len(page[key])
        cursor = page["cursor"]
        if cursor is None:
            return
