"""`python -m tests.simulation [--seed N | --seeds N] [--database postgresql://...]`: worlds until one fails."""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
import traceback
from pathlib import Path

import structlog

import joulegate_migrations
from tests.simulation.checks import check_seed
from tests.simulation.server import House


def main() -> int:
    """Run the seeds asked for; 1 where one failed."""
    parser = argparse.ArgumentParser(prog="python -m tests.simulation", description="Simulated worlds of the ledger.")
    parser.add_argument("--seed", type=int, help="this one alone")
    parser.add_argument("--seeds", type=int, default=500, help="so many, from --first on (500)")
    parser.add_argument("--first", type=int, default=0)
    parser.add_argument(
        "--database", help="an empty database that may be written; SQLite in a temporary file by default"
    )
    asked = parser.parse_args()
    seeds = range(asked.first, asked.first + asked.seeds) if asked.seed is None else range(asked.seed, asked.seed + 1)
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(50))
    with tempfile.TemporaryDirectory() as folder:
        url = asked.database or f"sqlite:///{folder}/joulegate.db"
        joulegate_migrations.upgrade(url)
        begun = time.monotonic()
        with House(url, Path(folder)) as house:
            for seed in seeds:
                try:
                    check_seed(seed, house)
                except Exception:  # noqa: BLE001 -- whatever it is, it is that seed's
                    traceback.print_exc()
                    print(f"seed {seed} failed; again: python -m tests.simulation --seed {seed}")
                    return 1
    print(f"{len(seeds)} seeds, no fault, in {time.monotonic() - begun:.0f} s")
    return 0


if __name__ == "__main__":
    sys.exit(main())
