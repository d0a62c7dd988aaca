"""What must hold when a world has come to rest, whatever its network did."""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path
from typing import Any, Final

import pytest

from tests.simulation.audit import ENTRIES, Audit
from tests.simulation.server import House, Server
from tests.simulation.world import World, told_plainly

COMPARED: Final = 4
"""One world in so many is told again over a perfect network; that costs as much as the world itself."""

_STATE: Final = {
    "balances": """
        SELECT budget, CAST(period_start AS text), posted_mj, posted_ug, posted_micros, pending_mj, pending_ug,
            pending_micros
        FROM balances WHERE tenant = :tenant
            AND (posted_mj <> 0 OR posted_ug <> 0 OR posted_micros <> 0 OR pending_mj <> 0 OR pending_ug <> 0
                OR pending_micros <> 0)
        ORDER BY 1, 2""",
    "charges": """
        SELECT subject, device_uuid, CAST(quarter AS text), gpu_ns, energy_mj, carbon_location_ug,
            cost_micros, currency
        FROM charges WHERE tenant = :tenant ORDER BY 1, 2, 3""",
    "records": """
        SELECT record_id, device_uuid, CAST(quarter AS text), energy_mj, carbon_location_ug, cost_micros
        FROM record_slices WHERE tenant = :tenant ORDER BY 1, 2, 3""",
    "windows": """
        SELECT window_seq, device_uuid, active_mj, idle_mj, pod_uid
        FROM windows WHERE tenant = :tenant ORDER BY 1""",
}
_HOLDS: Final = (
    "SELECT root_uid, part, state FROM holds WHERE tenant = :tenant AND state NOT IN ('expired', 'replaced') "
    "ORDER BY 1, 2"
)


def check_seed(seed: int, house: House, *, compare: bool = True) -> World:
    """Run a seed's world and check it; an AssertionError says what does not hold."""
    folder = Path(tempfile.mkdtemp(prefix=f"simulation-{seed}-"))
    world = World(seed, house, folder)
    try:
        with pytest.MonkeyPatch.context() as patch:
            world.network.install(patch)
            world.run()
            check(world)
            if compare:
                compare_with_plain(world, house)
    finally:
        world.close()
        shutil.rmtree(folder)
    return world


def check(world: World) -> None:
    server = world.server
    assert server.store.trial_balance.run().differences == ()
    audit = Audit(world.budgets.limits).read(server.rows(ENTRIES))
    assert audit.faults == [], "law 6, or a fact that was taken twice"
    posted = dict.fromkeys(world.budgets.tenths, 0)
    for (name, _), amounts in audit.posted.items():
        posted[name] += amounts["mj"]
    true = {name: world.drawn[name] for name in posted} | {"lab": sum(world.drawn.values())}
    assert posted == true, "what was drawn is posted once"
    there = {row[0] for row in server.rows("SELECT record_id FROM records WHERE tenant = :tenant")}
    assert set(world.delivered) <= there, "an acknowledged record is there"
    holds = {row[0] for row in server.rows("SELECT hold_id FROM holds WHERE tenant = :tenant")}
    assert set(world.allowed) <= holds, "an allowance that was answered has its hold"
    standing = {row[0] for row in server.rows(_HOLDS) if row[2] in ("unconfirmed", "confirmed")}
    assert {job.uid for job in world.jobs if job.lives} == standing, "what lives is held, and nothing else"


def compare_with_plain(world: World, house: House) -> None:
    plain = told_plainly(world, house)
    try:
        for name, query in _STATE.items():
            found, expected = world.server.rows(query), plain.rows(query)
            assert found == expected, f"{name} depend on the network: {_apart(found, expected)}"
        found, expected = _holds(world.server, world), _holds(plain, world)
        assert found == expected, f"holds depend on the network: {_apart(found, expected)}"
    finally:
        plain.close()


def _holds(server: Server, world: World) -> list[tuple[Any, ...]]:
    """Of what lives. Work that ended before the operator told of it may have expired instead; nothing is held then."""
    real = {job.uid for job in world.jobs if job.lives}
    return [(row[0], row[2]) for row in server.rows(_HOLDS) if row[0] in real]


def _apart(found: list[tuple[Any, ...]], expected: list[tuple[Any, ...]]) -> str:
    extra, missing = [row for row in found if row not in expected], [row for row in expected if row not in found]
    return f"\n  here: {extra[:5]}\n  over a perfect network: {missing[:5]}"
