"""F9: the process that writes, sequences and signs is killed at any moment; what it acknowledged is in the log."""

from __future__ import annotations

import random
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

from joulegate.core.log import EntryType, read_entry
from joulegate.core.merkle import leaf_hash, root_of
from joulegate_api.log_keeper import LogKeeper
from joulegate_api.settings import load
from joulegate_api.store import Store

pytestmark = pytest.mark.slow

ROUNDS = 12
PROGRAM = textwrap.dedent(
    """
    import sys
    from pathlib import Path
    from joulegate.core.log import EntryType
    from joulegate_api.log_keeper import LogKeeper
    from joulegate_api.settings import load
    from joulegate_api.store import Store

    url, home, number = sys.argv[1], Path(sys.argv[2]), 0
    store = Store.open(url)
    keeper = LogKeeper(load({"home": home}), store)
    keeper.make_key("test")
    keeper.start()
    while True:
        store.log.note(EntryType.REPORT, f"{sys.argv[3]}/{number}", {})
        print(f"{sys.argv[3]}/{number}", flush=True)
        number += 1
        keeper.sign() if number % 3 == 0 else keeper.sequence()
    """
)


def test_what_was_acknowledged_before_a_kill_is_in_a_log_that_follows_its_anchor(
    sqlite_url: str, tmp_path: Path
) -> None:
    chance = random.Random(20261124)  # noqa: S311 -- moments are drawn, not secrets
    acknowledged: set[str] = set()
    for number in range(ROUNDS):
        command = [sys.executable, "-c", PROGRAM, sqlite_url, str(tmp_path), str(number)]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
            assert process.stdout is not None
            acknowledged.add(process.stdout.readline().strip())
            try:
                process.wait(timeout=chance.uniform(0.0, 0.6))
            except subprocess.TimeoutExpired:
                process.kill()
            acknowledged |= {line.strip() for line in process.stdout if line.endswith("\n")}
        store = Store.open(sqlite_url)
        keeper = LogKeeper(load({"home": tmp_path}), store)
        keeper.start()
        assert store.log.frozen is None
        store.sequencer.catch_up()
        head = store.log.head()
        leaves = list(store.log.leaves(0, head.size))
        assert [leaf.index for leaf in leaves] == list(range(head.size))
        assert all(leaf.data is not None and leaf_hash(leaf.data) == leaf.leaf_hash for leaf in leaves)
        assert root_of(leaf.leaf_hash for leaf in leaves) == head.root
        facts = [read_entry(leaf.data) for leaf in leaves if leaf.data is not None]
        names = [entry.id for entry in facts if entry.type == EntryType.REPORT]
        assert len(names) == len(set(names))
        assert acknowledged <= set(names)
        store.close()
    assert len(acknowledged) > ROUNDS
