"""Settings of the operator, from ``JOULEGATE_*`` variables, read once by ``main``."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from joulegate.core.errors import InvalidInputError


@dataclass(frozen=True, slots=True)
class Settings:
    """Where the operator finds the cluster, and how often it looks without being told."""

    kubeconfig: Path | None = None
    resync_s: int = 15
    environment: Mapping[str, str] = field(default_factory=dict, repr=False)

    @classmethod
    def from_environment(cls, values: Mapping[str, str]) -> Settings:
        """Read the variables; raises :class:`InvalidInputError` with the name of one that is wrong.

        ``JOULEGATE_ADDRESS`` and ``JOULEGATE_TOKEN_FILE`` are read anew before each pass.
        """
        kubeconfig = values.get("JOULEGATE_KUBECONFIG")
        resync = values.get("JOULEGATE_OPERATOR_RESYNC_S", "15")
        if not resync.isdigit() or not 1 <= int(resync) <= 3_600:  # noqa: PLR2004 -- an hour
            raise InvalidInputError(
                f"{resync[:60]!r} is not a whole number between 1 and 3600", "JOULEGATE_OPERATOR_RESYNC_S"
            )
        return cls(Path(kubeconfig) if kubeconfig else None, int(resync), dict(values))
