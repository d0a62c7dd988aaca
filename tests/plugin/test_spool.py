"""The spool: nothing lost, nothing twice, nothing for ever."""

import os
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from joulegate import spool as spool_module
from joulegate.client import Client
from joulegate.core.errors import InvalidInputError, UnavailableError
from joulegate.spool import Spool
from tests.plugin.api_double import Api

AWAY = Client("http://127.0.0.1:9", retry_s=0)


def test_a_record_waits_privately_until_the_api_takes_it(tmp_path: Path, api: Api) -> None:
    spool = Spool(tmp_path / "spool")
    spool.put({"record_id": "a"})
    assert stat.S_IMODE((tmp_path / "spool").stat().st_mode) == 0o700
    assert stat.S_IMODE((tmp_path / "spool/a.json").stat().st_mode) == 0o600
    away = spool.flush(AWAY, within_s=1)
    assert (away.delivered, away.waiting) == ((), 1)
    assert "Connection refused" in str(away.error)
    assert spool.flush(Client(api.address), within_s=5).delivered == ("a",)
    assert spool.flush(Client(api.address), within_s=5).delivered == ()
    assert api.records() == ["a"]


def test_the_newest_goes_first_when_asked_and_the_rest_by_age(tmp_path: Path, api: Api) -> None:
    spool = Spool(tmp_path)
    for age, name in enumerate(["old", "older", "oldest"]):
        spool.put({"record_id": name})
        os.utime(tmp_path / f"{name}.json", (1000 - age, 1000 - age))
    spool.put({"record_id": "own"})
    spool.flush(Client(api.address), within_s=5, first="own")
    assert api.records() == ["own", "oldest", "older", "old"]


def test_a_record_that_is_refused_for_good_is_set_aside_with_the_reason_and_the_next_is_sent(
    tmp_path: Path, api: Api
) -> None:
    spool = Spool(tmp_path)
    spool.put({"record_id": "poison"})
    os.utime(tmp_path / "poison.json", (1, 1))
    spool.put({"record_id": "good"})
    api.will(422, {"code": "invalid_input", "detail": "devices: too many"})
    done = spool.flush(Client(api.address), within_s=5)
    assert (done.delivered, done.quarantined, done.waiting) == (("good",), ("poison",), 0)
    assert (tmp_path / "quarantine/poison.json").exists()
    assert "devices: too many" in (tmp_path / "quarantine/poison.reason.txt").read_text()


@pytest.mark.parametrize("status", [401, 403, 404])
def test_a_wrong_token_or_address_costs_no_record(tmp_path: Path, api: Api, status: int) -> None:
    spool = Spool(tmp_path)
    spool.put({"record_id": "a"})
    api.will(status, {"code": "unauthenticated", "detail": "no"})
    assert spool.flush(Client(api.address), within_s=5).waiting == 1
    assert spool.flush(Client(api.address), within_s=5).delivered == ("a",)


def test_a_file_that_is_not_json_does_not_block_the_others(tmp_path: Path, api: Api) -> None:
    spool = Spool(tmp_path)
    spool.put({"record_id": "good"})
    (tmp_path / "broken.json").write_text("{")
    done = spool.flush(Client(api.address), within_s=5)
    assert (done.delivered, done.quarantined) == (("good",), ("broken",))


def test_a_full_spool_says_so_and_keeps_what_it_has(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(spool_module, "CAPACITY", 2)
    spool = Spool(tmp_path)
    spool.put({"record_id": "a"})
    spool.put({"record_id": "b"})
    with pytest.raises(UnavailableError, match="2 records wait"):
        spool.put({"record_id": "c"})
    assert sorted(spool.waiting()) == ["a", "b"]


@pytest.mark.parametrize("name", ["../escape", "", ".hidden", "a/b", "x" * 200])
def test_an_id_cannot_name_a_file_elsewhere(tmp_path: Path, name: str) -> None:
    with pytest.raises(InvalidInputError, match="cannot name a record"):
        Spool(tmp_path).put({"record_id": name})


def test_processes_that_flush_at_once_deliver_each_record_once(tmp_path: Path, api: Api) -> None:
    spool = Spool(tmp_path)
    names = [f"r{number:02}" for number in range(40)]
    for name in names:
        spool.put({"record_id": name})
    program = (
        "import sys; from pathlib import Path; from joulegate.client import Client; from joulegate.spool import Spool;"
        "Spool(Path(sys.argv[1])).flush(Client(sys.argv[2]), within_s=20)"
    )
    running = [subprocess.Popen([sys.executable, "-c", program, str(tmp_path), api.address]) for _ in range(3)]
    assert [process.wait(timeout=30) for process in running] == [0, 0, 0]
    assert sorted(api.records()) == names
    assert spool.waiting() == ()
