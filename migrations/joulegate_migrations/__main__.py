"""`python -m joulegate_migrations upgrade|check|roles [URL]`; without URL that of JOULEGATE_DATABASE_URL."""

from __future__ import annotations

import argparse
import os
import sys

from joulegate.core.errors import JoulegateError
from joulegate_migrations.history import check, upgrade
from joulegate_migrations.roles import grant


def main(arguments: list[str] | None = None) -> int:
    """Run one command; 0 done, 1 an error, 3 the tables differ."""
    parser = argparse.ArgumentParser(prog="python -m joulegate_migrations", description=__doc__)
    parser.add_argument("command", choices=["upgrade", "check", "roles"])
    parser.add_argument("url", nargs="?", default=os.environ.get("JOULEGATE_DATABASE_URL"))
    chosen = parser.parse_args(arguments)
    if not chosen.url:
        parser.error("give the address of a database, or set JOULEGATE_DATABASE_URL")
    try:
        if chosen.command == "upgrade":
            sys.stdout.write(f"at revision {upgrade(chosen.url)}\n")
            return 0
        if chosen.command == "roles":
            sys.stdout.write(f"{len(grant(chosen.url))} statements were run\n")
            return 0
        differences = check(chosen.url)
    except JoulegateError as error:
        sys.stderr.write(f"{error}\n")
        return 1
    sys.stdout.write("".join(f"{line}\n" for line in differences) or "the tables are those of the program\n")
    return 3 if differences else 0


if __name__ == "__main__":
    sys.exit(main())
