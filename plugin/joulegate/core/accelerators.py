"""Accelerator models: how their names are told apart, and their nameplate power.

Board power limits are those of NVIDIA's data sheets (default limit of the board;
for superchips the GPU's share). A name is compared without vendor, case,
separators and the suffixes that device plugins add, so that the node label
``NVIDIA-A100-SXM4-80GB-SHARED`` and NVML's ``NVIDIA A100-SXM4-80GB`` are one model.
"""

from __future__ import annotations

import re
from fractions import Fraction
from functools import lru_cache
from typing import Final

from joulegate.core.units import Power

_NOISE: Final = re.compile(r"\b(nvidia|tesla|quadro|geforce|graphics|gpu)\b")
_SUFFIX: Final = re.compile(r" (shared|mig \d+g \d+gb( me)?( shared)?)$")
_MIG_PROFILE: Final = re.compile(r"(?:\d+c\.)?(\d+)g\.\d+gb")
_MIG_SLICES: Final = 7  # compute slices of every MIG-capable board so far (A30 has 4 of them)

# First match wins: the longer name before the shorter one.
_NAMEPLATE_W: Final = (
    ("b200", 1000), ("b100", 700), ("gh200", 700),
    ("h200 nvl", 600), ("h200", 700),
    ("h100 nvl", 400), ("h100 pcie", 350), ("h100", 700),
    ("h800 pcie", 350), ("h800", 700), ("h20", 400),
    ("a100 pcie 80gb", 300), ("a100 80gb pcie", 300), ("a100 pcie", 250), ("a100", 400),
    ("a800 80gb pcie", 300), ("a800", 400),
    ("a40", 300), ("a30", 165), ("a16", 250), ("a10g", 300), ("a10", 150), ("a2", 60),
    ("l40s", 350), ("l40", 300), ("l4", 72), ("t4", 70),
    ("v100 sxm", 300), ("v100s", 250), ("v100", 250),
    ("p100 sxm", 300), ("p100", 250), ("p40", 250), ("p4", 75),
    ("rtx 6000 ada", 300), ("rtx a6000", 300), ("rtx a5000", 230), ("rtx a4000", 140),
    ("rtx 5090", 575), ("rtx 4090", 450), ("rtx 4080", 320),
    ("rtx 3090 ti", 450), ("rtx 3090", 350), ("rtx 3080 ti", 350), ("rtx 3080", 320),
    ("rtx 2080 ti", 250), ("gtx 1080 ti", 250),
)  # fmt: skip


def canonical_model(name: str) -> str:
    """One text for all spellings of a board: no vendor, separators, case or suffixes of plugins."""
    text = re.sub(r"[\s_\-.]+", " ", name.lower())
    text = " ".join(_NOISE.sub(" ", text).split())
    return _SUFFIX.sub("", text)


@lru_cache(maxsize=256)
def nameplate(name: str) -> Power | None:
    """Default power limit of a board by its name; None for a board that is not in the table."""
    text = canonical_model(name)
    for model, watts in _NAMEPLATE_W:
        if re.search(rf"\b{model}\b", text):
            return Power(watts * 1_000)
    return None


def mig_fraction(profile: str) -> Fraction | None:
    """Share of a board that a profile such as ``1g.10gb`` holds; None where it is no profile."""
    match = _MIG_PROFILE.fullmatch(profile)
    return Fraction(min(int(match.group(1)), _MIG_SLICES), _MIG_SLICES) if match else None
