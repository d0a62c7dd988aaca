"""What several tests of the plugin need."""

from collections.abc import Iterator

import pytest

from joulegate.core.errors import JoulegateError
from joulegate.gpu import open_reader
from tests.plugin.api_double import Api, serving


@pytest.fixture
def api() -> Iterator[Api]:
    """An API that accepts everything unless told otherwise."""
    with serving() as running:
        yield running


@pytest.fixture(scope="session")
def has_gpu() -> bool:
    """Whether NVML finds a GPU here."""
    try:
        open_reader().close()
    except JoulegateError:
        return False
    return True


@pytest.fixture
def no_gpu(has_gpu: bool) -> None:
    """The test is about a machine without a GPU: NVML goes before a recording."""
    if has_gpu:
        pytest.skip("there is a GPU here")
