"""Settings of the operator, from ``JOULEGATE_*`` variables, read once by ``main``."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from joulegate.core.errors import InvalidInputError

_RESYNC_S: Final = 15
_RELIST_S: Final = 60
_CLUSTER: Final = "local"
_LONGEST_S: Final = 3_600


@dataclass(frozen=True, slots=True)
class Settings:
    """Where the operator finds the cluster, and how often it looks without being told.

    A pass is made at least every ``resync_s``; each kind of workload is listed at
    least every ``relist_s``. ``cluster`` is the name under which the API knows this one,
    ``namespace`` the one that Joulegate itself runs in.
    """

    kubeconfig: Path | None = None
    resync_s: int = _RESYNC_S
    relist_s: int = _RELIST_S
    cluster: str = _CLUSTER
    namespace: str | None = None
    environment: Mapping[str, str] = field(default_factory=dict, repr=False)

    @classmethod
    def from_environment(cls, values: Mapping[str, str]) -> Settings:
        """Read the variables; raises :class:`InvalidInputError` with the name of one that is wrong.

        ``JOULEGATE_ADDRESS`` and ``JOULEGATE_TOKEN_FILE`` are read anew before each pass.
        """
        kubeconfig = values.get("JOULEGATE_KUBECONFIG")
        return cls(
            kubeconfig=Path(kubeconfig) if kubeconfig else None,
            resync_s=_seconds(values, "JOULEGATE_OPERATOR_RESYNC_S", _RESYNC_S),
            relist_s=_seconds(values, "JOULEGATE_OPERATOR_RELIST_S", _RELIST_S),
            cluster=values.get("JOULEGATE_CLUSTER") or _CLUSTER,
            namespace=values.get("JOULEGATE_NAMESPACE") or None,
            environment=dict(values),
        )


def _seconds(values: Mapping[str, str], name: str, default: int) -> int:
    text = values.get(name, str(default))
    if not text.isdigit() or not 1 <= int(text) <= _LONGEST_S:
        raise InvalidInputError(f"{text[:60]!r} is not a whole number between 1 and {_LONGEST_S}", name)
    return int(text)
