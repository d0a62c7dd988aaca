"""A recording: a run's energy as a record, window and host and all, or the reason why not."""

import time
from datetime import UTC, datetime, timedelta

import pytest

from joulegate.clock import boottime_ns
from joulegate.core.metering import Uncertainty
from joulegate.core.records import Kind, Run, RunOutcome, Source
from joulegate.facts import Facts, QualityFact, WorkFact
from joulegate.recording import Recording, Subject, together
from joulegate.wire import record_body

REPLAY = {"JOULEGATE_REPLAY": "a100_square"}
SUBJECT = Subject(Run("r"), Kind.TRAINING, "mlp", "dense")


def recorded(seconds: float) -> tuple[Recording, int, int]:
    recording = Recording(REPLAY)
    recording.start()
    start_ns = boottime_ns()
    time.sleep(seconds)
    end_ns = boottime_ns()
    recording.stop()
    return recording, start_ns, end_ns


def test_windows_add_up_to_the_stretch_that_they_fill() -> None:
    recording, start_ns, end_ns = recorded(0.6)
    middle_ns = (start_ns + end_ns) // 2
    spans = [(start_ns, middle_ns), (middle_ns, end_ns), (start_ns, end_ns)]
    facts = Facts(tuple(WorkFact("w", "runs", 1, 1, *span) for span in spans))
    first, second, both = recording.record(SUBJECT, RunOutcome.SUCCEEDED, facts).work
    assert first.energy
    assert second.energy
    assert first.energy + second.energy == both.energy


def test_a_window_outside_the_run_has_no_energy_and_is_kept() -> None:
    recording, start_ns, end_ns = recorded(0.2)
    facts = Facts((WorkFact("early", "runs", 1, 1, start_ns - 10**12, end_ns),), (QualityFact("accuracy", 0.5),))
    record = recording.record(SUBJECT, RunOutcome.SUCCEEDED, facts)
    assert record.work[0].energy is None
    assert record.work[0].uncertainty is None
    assert record.quality[0].value == 0.5


def test_intervals_fill_the_run_and_lie_inside_quarters() -> None:
    recording, _, _ = recorded(0.2)
    record = recording.record(SUBJECT, RunOutcome.SUCCEEDED, Facts())
    (device,) = record.devices
    assert device.intervals[0].start == record.started_at
    assert abs(device.intervals[-1].end - record.ended_at) < timedelta(milliseconds=1)
    assert abs(record.started_at - datetime.now(UTC)) < timedelta(minutes=1)


def test_what_never_began_has_no_device_and_no_length() -> None:
    recording = Recording(REPLAY)
    recording.start()
    recording.stop()
    record = recording.record(SUBJECT, RunOutcome.FAILED, Facts(), began=False)
    assert record.devices == ()
    assert record.started_at == record.ended_at
    assert record.energy() is None


def test_two_recordings_of_one_place_have_different_records() -> None:
    assert Recording({}).record_id != Recording({}).record_id


@pytest.mark.usefixtures("no_gpu")
def test_without_anything_to_read_the_reason_is_in_the_summary() -> None:
    recording = Recording({})
    recording.start()
    recording.stop()
    record = recording.record(SUBJECT, RunOutcome.SUCCEEDED, Facts())
    assert record.source is Source.NVML
    assert "GPU energy not measured (NVML" in recording.summary(record)


def test_a_driver_that_misbehaves_does_not_stop_the_run(monkeypatch: pytest.MonkeyPatch) -> None:
    def misbehave(*_: object) -> None:
        raise AttributeError("old binding")

    monkeypatch.setattr("joulegate.recording.open_reader", misbehave)
    recording = Recording({})
    recording.start()
    recording.stop()
    record = recording.record(SUBJECT, RunOutcome.SUCCEEDED, Facts())
    assert record.devices == ()
    assert "old binding" in recording.summary(record)


def test_every_record_can_be_written_as_a_body() -> None:
    recording, start_ns, end_ns = recorded(0.2)
    facts = Facts((WorkFact("w", "runs", 1, 1, start_ns, end_ns),), (QualityFact("accuracy", 0.5),))
    body = record_body(recording.record(SUBJECT, RunOutcome.SUCCEEDED, facts))
    assert body["record_id"] == recording.record_id
    assert isinstance(body["work"][0]["energy_mj"], str)


def test_uncertainties_of_several_boards_add_up_and_one_unknown_makes_all_unknown() -> None:
    one = Uncertainty(90, 110, "0.95", 5, 3, 2, 0)
    assert together([one, one]) == Uncertainty(180, 220, "0.95", 10, 6, 4, 0)
    assert together([one, None]) is None
    assert together([]) is None
