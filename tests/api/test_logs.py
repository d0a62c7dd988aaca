"""The server's log: lines that a program reads, with the place of an error and without anybody's values."""

import json
import logging
from collections.abc import Iterator

import pytest
import structlog

from joulegate_api import logs


@pytest.fixture
def own_logging() -> Iterator[None]:
    """The log as a server has it; afterwards as it was."""
    root = logging.getLogger()
    handlers, level, before = root.handlers[:], root.level, structlog.get_config()
    yield
    root.handlers[:] = handlers
    root.setLevel(level)
    structlog.configure(**before)


@pytest.mark.usefixtures("own_logging")
def test_an_error_is_one_line_of_json_without_the_values_of_variables(capsys: pytest.CaptureFixture[str]) -> None:
    def fail(token: str) -> None:
        raise RuntimeError(f"of length {len(token)}")

    logs.configure()
    token = "jg-hidden"  # a traceback quotes lines of code, and this one is not among them
    try:
        fail(token)
    except RuntimeError as error:
        logs.log.error("internal error", path="/v1/records", exc_info=error)
    logging.getLogger("uvicorn.error").warning("a line of %s", "uvicorn")
    ours, theirs = (json.loads(line) for line in capsys.readouterr().err.splitlines())
    assert (ours["event"], ours["path"], ours["level"]) == ("internal error", "/v1/records", "error")
    assert "RuntimeError: of length 9" in ours["exception"]
    assert token not in str(ours)
    assert (theirs["event"], theirs["level"]) == ("a line of uvicorn", "warning")
