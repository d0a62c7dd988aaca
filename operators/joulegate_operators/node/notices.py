"""What somebody has to know at once: one JSON object a line on stderr, which the cluster's log collector takes."""

from __future__ import annotations

import json
import sys


def say(event: str, **fields: str | float) -> None:
    """Write one line; never a token, never a body."""
    sys.stderr.write(json.dumps({"event": event, **fields}) + "\n")
    sys.stderr.flush()
