"""What several tests of the plugin need."""

from collections.abc import Iterator

import pytest

from tests.plugin.api_double import Api, serving


@pytest.fixture
def api() -> Iterator[Api]:
    """An API that accepts everything unless told otherwise."""
    with serving() as running:
        yield running
