"""F5: a wire that is really cut, at every place where it can be: each window and each hold has its effect once."""

from __future__ import annotations

import sys
import time
from pathlib import Path
from random import Random
from typing import Any, Final

import pytest
from sqlalchemy import text

from joulegate.client import Client
from joulegate.core.errors import ConflictError, JoulegateError
from joulegate_api.store import Store
from tests.api.running import token_of
from tests.api.store.examples import budget
from tests.api.test_windows import batch, device, window
from tests.faults.cutting import Cut, wire
from tests.faults.processes import METER, Api
from tests.faults.sender import DEMAND

PATIENCE_S: Final = 60
BATCHES: Final = 12
HOLDS: Final = 12
A_WINDOW_MJ: Final = 6_000_000

pytestmark = [pytest.mark.timeout(240)]


def persistently(client: Client, path: str, body: Any) -> Any:
    """Ask until there is an answer, as the spool, the meter's log and the operator do."""
    until = time.monotonic() + PATIENCE_S
    while True:
        try:
            return client.post(path, body)
        except ConflictError:
            raise
        except JoulegateError:
            if time.monotonic() > until:
                raise


def ways(chance: Random) -> Any:
    """Every cut in turn, then by chance; half of the calls pass."""
    first = [cut for cut in Cut if cut is not Cut.NONE] * 2
    chance.shuffle(first)
    return lambda: first.pop() if first else chance.choice([*Cut, *[Cut.NONE] * 3])


@pytest.mark.parametrize(
    "kind",
    [pytest.param("sqlite", marks=pytest.mark.slow), pytest.param("postgres", marks=pytest.mark.postgres)],
)
def test_f5_whatever_is_cut_every_window_and_every_hold_has_its_effect_once(
    kind: str, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    url = request.getfixturevalue(f"{kind}_url")
    store = Store.open(url)
    store.budgets.put(budget(), "admin")
    with Api(tmp_path / "api", url) as api:
        api.wait()
        meter = Client(api.address, token_of(METER))
        meter.post("/v1/devices", device())
        with wire(api.port, ways(Random(5))) as (address, cable):  # noqa: S311 -- a test
            cut_off = Client(address, token_of(METER), timeout_s=10, retry_s=0)
            for number in range(BATCHES):
                sent = batch(window(2 * number), window(2 * number + 1))
                answer = persistently(cut_off, "/v1/windows", sent)
                assert answer == {"accepted_seq": 2 * number + 1, "quarantined": []}
            asking = Client(address, token_of("operator"), timeout_s=10, retry_s=0)
            told = {}
            for number in range(HOLDS):
                body = {"resource": "jobs", "namespace": "elsewhere", "name": f"job-{number}", "demand": DEMAND}
                told[f"root-{number}"] = persistently(asking, f"/v1/holds/root-{number}/request", body)
                assert told[f"root-{number}"]["allowed"]
        again = Client(api.address, token_of("operator"))
        body = {"resource": "jobs", "namespace": "elsewhere", "name": "job-0", "demand": DEMAND}
        assert again.post("/v1/holds/root-0/request", body)["hold"] == told["root-0"]["hold"]
    with store._database.read() as connection:  # in whatever period they are posted
        posted = connection.execute(text("SELECT sum(posted_mj) FROM balances WHERE budget = 'vision'")).scalar()
    counted = 2 * BATCHES * A_WINDOW_MJ
    assert posted == counted
    assert store.trial_balance.run().differences == ()
    assert all(cable.seen[cut] >= 2 for cut in Cut), "every way of cutting was met"
    sys.stdout.write(f"F5, {kind}: {posted} mJ of {counted}, {HOLDS} holds once each; {dict(cable.seen)}\n")
    store.close()
