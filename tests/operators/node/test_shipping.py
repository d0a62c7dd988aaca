"""Sending: in order, until it is taken; a window that is refused for itself holds up nobody and is never lost."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from joulegate.client import Client
from joulegate.windows import EnrolmentBody
from joulegate_operators.node.shipping import Shipper
from joulegate_operators.node.wal import KEPT, WindowLog
from tests.operators.node.day import Now
from tests.operators.node.doubles import Api
from tests.operators.node.test_wal import START, numbers, window


@pytest.fixture
def api() -> Api:
    return Api()


@pytest.fixture
def address(api: Api) -> Iterator[str]:
    with api.serving() as address:
        yield address


def log_of(folder: Path, uids: str) -> WindowLog:
    """One window a pod."""
    log = WindowLog(folder, "node-uid")
    for number, uid in enumerate(uids):
        log.append([window(number, pod_uid=uid)], {})
    return log


def shipper_of(log: WindowLog, address: str) -> Shipper:
    return Shipper(lambda: Client(address, "token", retry_s=0.0), log, Now())


def test_what_waits_is_sent_in_order_and_once(tmp_path: Path, api: Api, address: str) -> None:
    log = log_of(tmp_path, "abc")
    shipper = shipper_of(log, address)
    assert shipper.ship()
    assert (numbers(api.rows()), log.accepted, shipper.error) == ([0, 1, 2], 2, None)
    assert shipper.ship()
    assert api.conflicts == []


def test_f5_windows_whose_answer_was_lost_are_sent_again_and_kept_once(tmp_path: Path, api: Api, address: str) -> None:
    api.lose_answers = 2
    log = log_of(tmp_path, "abc")
    shipper = shipper_of(log, address)
    assert [shipper.ship(), shipper.ship(), shipper.ship()] == [False, False, True]
    assert (numbers(api.rows()), log.accepted, api.conflicts) == ([0, 1, 2], 2, [])


@pytest.mark.parametrize("uids", ["abxcdefg", "xabc", "abcx", "xx", "axbxcxd", "x"])
def test_a_refused_window_is_kept_and_the_others_go_on(
    tmp_path: Path, api: Api, address: str, uids: str, capsys: pytest.CaptureFixture[str]
) -> None:
    api.refused_pods = {"x"}
    log = log_of(tmp_path, uids)
    shipper = shipper_of(log, address)
    assert shipper.ship(), shipper.error
    assert log.accepted == len(uids) - 1
    assert {row["pod_uid"] for row in api.rows()} == set(uids) - {"x"}
    assert shipper.refusals.count == uids.count("x")
    said = capsys.readouterr().err.splitlines()
    assert [line for line in said if '"event": "window refused"' in line and "told to" in line] == said
    assert len(said) == uids.count("x")
    log.append([window(len(uids), pod_uid="z")], {})
    assert shipper.ship()
    assert "z" in {row["pod_uid"] for row in api.rows()}


def test_refused_windows_are_sent_again_by_command_and_after_a_start_until_they_are_taken(
    tmp_path: Path, api: Api, address: str
) -> None:
    api.refused_pods = {"x"}
    log = log_of(tmp_path, "axbx")
    shipper = shipper_of(log, address)
    assert shipper.ship()
    shipper.retry()
    assert shipper.ship()
    assert shipper.refusals.count == 2, "still refused, still there"
    log.tidy(START + 3 * KEPT)
    api.refused_pods = set()
    again = shipper_of(WindowLog(tmp_path, "node-uid"), address)
    assert again.ship()
    assert again.refusals.count == 0
    assert numbers(api.rows()) == [0, 1, 2, 3]
    assert api.conflicts == []


def test_nothing_is_set_aside_where_the_api_refuses_whatever_is_sent(tmp_path: Path, api: Api, address: str) -> None:
    log = log_of(tmp_path, "abc")
    shipper = shipper_of(log, address)
    for status in (400, 401, 403, 404, 409, 413, 422, 429, 500, 503):
        api.status = status
        assert not shipper.ship()
        assert shipper.error
        assert (shipper.refusals.count, log.accepted) == (0, -1), status
    api.status = 200
    assert shipper.ship()
    assert numbers(api.rows()) == [0, 1, 2]


def test_a_refused_window_that_the_disk_does_not_take_waits(
    tmp_path: Path, api: Api, address: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    api.refused_pods = {"x"}
    log = log_of(tmp_path, "ax")
    shipper = shipper_of(log, address)
    with monkeypatch.context() as patch:
        patch.setattr("joulegate_operators.node.refusals.write_private", full)
        assert not shipper.ship()
    assert log.accepted == 0
    assert shipper.ship()
    assert (log.accepted, shipper.refusals.count) == (1, 1)


def full(*_: object) -> None:
    raise OSError(28, "No space left on device")


def test_a_device_that_is_refused_does_not_hold_up_windows(
    tmp_path: Path, api: Api, address: str, capsys: pytest.CaptureFixture[str]
) -> None:
    log = log_of(tmp_path, "a")
    shipper = shipper_of(log, address)
    api.refused_devices = {"GPU-1"}
    for uuid in ("GPU-1", "GPU-2"):
        shipper.enrol(EnrolmentBody("local", "node-1", uuid, "NVIDIA A100", None, datetime.now(UTC)))
    assert shipper.ship()
    assert [row["uuid"] for row in api.devices] == ["GPU-2"]
    assert (shipper.refused_devices, log.accepted) == (1, 0)
    assert "device refused" in capsys.readouterr().err


def test_windows_are_kept_a_day_and_sent_again_when_the_mark_goes_back(tmp_path: Path, api: Api, address: str) -> None:
    log = log_of(tmp_path, "abcd")
    shipper = shipper_of(log, address)
    assert shipper.ship()
    log.tidy(START + KEPT - timedelta(minutes=1))
    restored = {number: row for number, row in api.windows[log.incarnation].items() if number < 2}
    api.windows[log.incarnation] = restored  # a database of yesterday
    log.append([window(4, pod_uid="e")], {})
    assert shipper.ship()
    assert numbers(api.rows()) == [0, 1, 2, 3, 4]
    assert api.conflicts == []


def test_an_answer_without_a_mark_or_that_stands_still_is_an_error_and_loses_nothing(
    tmp_path: Path, api: Api, address: str
) -> None:
    log = log_of(tmp_path, "ab")
    shipper = shipper_of(log, address)
    for answer in ({}, {"accepted_seq": None}, {"accepted_seq": "-1"}, {"accepted_seq": -1}):
        api.answer = answer
        assert not shipper.ship()
        assert log.accepted == -1
    api.answer = None
    assert shipper.ship()
    assert log.accepted == 1
