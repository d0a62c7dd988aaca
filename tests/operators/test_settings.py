"""Settings of the operator are read from the environment, and a wrong one is named."""

from __future__ import annotations

from pathlib import Path

import pytest

from joulegate.core.errors import InvalidInputError
from joulegate_operators.settings import Settings


def test_nothing_has_to_be_set() -> None:
    settings = Settings.from_environment({})
    assert (settings.kubeconfig, settings.resync_s, settings.relist_s, settings.cluster) == (None, 15, 60, "local")


def test_what_is_set_is_taken() -> None:
    values = {"JOULEGATE_KUBECONFIG": "/etc/k", "JOULEGATE_OPERATOR_RESYNC_S": "1", "JOULEGATE_ADDRESS": "http://a"}
    settings = Settings.from_environment(values)
    assert (settings.kubeconfig, settings.resync_s, settings.environment) == (Path("/etc/k"), 1, values)


@pytest.mark.parametrize("name", ["JOULEGATE_OPERATOR_RESYNC_S", "JOULEGATE_OPERATOR_RELIST_S"])
@pytest.mark.parametrize("text", ["0", "3601", "often", "-1", "1.5", ""])
def test_a_wrong_one_is_named(name: str, text: str) -> None:
    with pytest.raises(InvalidInputError, match=name):
        Settings.from_environment({name: text})
