"""Joulegate: the energy, cost and carbon of a run, measured where it happens.

What is *not* done here: nothing is priced and nothing is decided; the API does
that with dated factors. Importing this package reads no clock, opens no device
and needs nothing but the standard library.
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from joulegate.marks import work

__all__ = ["__version__", "work"]

__version__ = "0.1.0"


def __getattr__(name: str) -> Any:  # noqa: ANN401 -- of a module
    """Import what marks work when it is first used; most imports of this package never do."""
    if name == "work":
        from joulegate.marks import work  # noqa: PLC0415

        return work
    raise AttributeError(f"module 'joulegate' has no attribute {name!r}")
