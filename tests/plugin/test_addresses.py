"""Which addresses are this machine."""

import pytest

from joulegate.addresses import is_loopback


@pytest.mark.parametrize("host", ["localhost", "api.localhost", "127.0.0.1", "127.8.9.10", "::1"])
def test_this_machine_is_known_by_name_and_number(host: str) -> None:
    assert is_loopback(host)


@pytest.mark.parametrize("host", ["", "example.org", "localhost.example.org", "10.0.0.1", "0.0.0.0", "::", "128.0.0.1"])  # noqa: S104
def test_everything_else_is_elsewhere(host: str) -> None:
    assert not is_loopback(host)
