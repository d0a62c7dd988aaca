"""`make cluster` and `make cluster-down`: a control plane to try things on, until it is taken down.

python -m tests.cluster up     start it if it does not run; the last line is its kubeconfig
python -m tests.cluster down   stop what `up` started, and nothing else
python -m tests.cluster build  only find or build the programs
python -m tests.cluster check  end with 1 and say why where this machine cannot run one
"""

from __future__ import annotations

import sys
from typing import Final

from tests.cluster import programs
from tests.cluster.controlplane import ControlPlane, NotStartedError

OWN: Final = programs.ROOT / ".cluster"


def up() -> None:
    """Start the checkout's control plane where it does not run yet."""
    plane = ControlPlane(OWN)
    if not plane.is_running():
        build()
        plane.start(programs.programs())
    print(plane.kubeconfig)


def down() -> None:
    """Stop the checkout's control plane."""
    ControlPlane(OWN).remove()


def build() -> None:
    """Have the programs, and say so beforehand where that takes minutes."""
    if programs.found() is None:
        print("cluster: building the control plane from its Go modules; minutes, once", file=sys.stderr, flush=True)
    programs.programs()


def check() -> None:
    """End with an error where there is no control plane to be had."""
    if (reason := programs.why_not()) is not None:
        raise programs.ProgramsMissingError(reason)


COMMANDS: Final = {command.__name__: command for command in (up, down, build, check)}


def main(arguments: list[str]) -> int:
    """Runs the one command that is named; returns the exit status."""
    if len(arguments) != 1 or arguments[0] not in COMMANDS:
        print(f"usage: python -m tests.cluster {'|'.join(COMMANDS)}", file=sys.stderr)
        return 2
    try:
        COMMANDS[arguments[0]]()
    except (programs.ProgramsMissingError, NotStartedError) as error:
        print(f"cluster: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
