"""CodeCarbon as a second opinion: the program that :mod:`joulegate.opinions` runs in a process of its own.

``python -m joulegate.integrations.codecarbon COUNTRY [UUID ...]`` starts CodeCarbon's offline tracker, prints
``ready``, waits for the end of its input, and prints one JSON object: the tool, energy of the GPUs named and of the
host in mJ (null where there is none, with the reason), and how long it measured.

What goes wrong with it elsewhere, and cannot here: the default tracker asks other machines where it is and assumes
Quebec where they do not answer (the offline one, with a country that is given and known); files of configuration send
results elsewhere (an empty home and folder, see the caller); a lock file and signal handlers end the run
(``allow_multiple_runs``); every GPU of the machine is added up (the GPUs are named, by index: it strips the G of a
UUID before it looks for it); a GPU that it does not find, or
without a counter, is 0 kWh, and one that is reset is less (neither is taken for energy).
"""

from __future__ import annotations

import json
import math
import os
import sys
from collections.abc import Sequence
from typing import Any, Final

_MJ_PER_KWH: Final = 3_600_000_000
_NS_PER_SECOND: Final = 1_000_000_000


def tracker_of(country: str, uuids: Sequence[str]) -> tuple[Any, bool]:
    """A tracker that has begun, and whether it sees every GPU.

    Raises ``LookupError`` for a country that it does not know.
    """
    from codecarbon import OfflineEmissionsTracker
    from codecarbon.core.gpu import AllGPUDevices
    from codecarbon.input import DataSource

    if country not in DataSource().get_global_energy_mix_data():
        raise LookupError(f"CodeCarbon knows no country {country!r}; it wants three letters, such as FRA")
    known = {gpu["uuid"]: gpu["gpu_index"] for gpu in AllGPUDevices().get_gpu_static_info()}
    indices = [known[uuid] for uuid in uuids if uuid in known]
    tracker = OfflineEmissionsTracker(
        country_iso_code=country,
        gpu_ids=indices,
        save_to_file=False,
        log_level="critical",
        allow_multiple_runs=True,
        tracking_mode="machine",
    )
    tracker.start()
    return tracker, len(indices) == len(uuids)


def answer_of(tracker: Any, asked: int, *, sees_all: bool) -> dict[str, Any]:  # noqa: ANN401 -- CodeCarbon has no types
    """What it found of ``asked`` GPUs and the host; what it cannot know is null, with the reason."""
    tracker.stop()
    found = tracker.final_emissions_data
    accelerator_mj = _energy_mj(found.gpu_energy) if asked and sees_all else None
    host_mj = _energy_mj(found.cpu_energy + found.ram_energy)
    reasons = [] if host_mj is not None else ["it has no energy of the host"]
    if not asked:
        reasons.append("there is no GPU to ask it about")
    elif accelerator_mj is None:
        reasons.append("it has no energy of the GPU; it wants nvidia-smi on PATH and a counter that rises")
    return {
        "tool": f"codecarbon {found.codecarbon_version}",
        "accelerator_mj": accelerator_mj,
        "host_mj": host_mj,
        "duration_ns": round(found.duration * _NS_PER_SECOND),
        "reason": "; ".join(reasons),
    }


def _energy_mj(kwh: float) -> int | None:
    """A run draws more than nothing: zero is how this tool says that it does not know."""
    return round(kwh * _MJ_PER_KWH) if math.isfinite(kwh) and kwh > 0 else None


def main(country: str, *uuids: str) -> None:
    """Measure until the input ends, and print."""
    printed, sys.stdout = sys.stdout, open(os.devnull, "w", encoding="utf-8")  # noqa: SIM115, PTH123 -- it prints
    tracker, sees_all = tracker_of(country, uuids)
    printed.write("ready\n")
    printed.flush()
    sys.stdin.read()
    json.dump(answer_of(tracker, len(uuids), sees_all=sees_all), printed)
    printed.flush()
    os._exit(0)  # its threads may hold up the end


if __name__ == "__main__":
    try:
        main(*sys.argv[1:])
    except Exception as error:  # noqa: BLE001 -- the caller reads the last line of stderr
        sys.stderr.write(f"{type(error).__name__}: {error}\n")
        os._exit(1)
