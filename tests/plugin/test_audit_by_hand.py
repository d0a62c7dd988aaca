"""The commands of docs/audit.md do what verify does, and print what the page says; on a changed bundle they fail."""

from __future__ import annotations

import copy
import io
import json
import os
import re
import shutil
import subprocess
import sys
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from pypdf import PdfReader

from joulegate.core.merkle import includes
from joulegate.tokens import Role, format_row
from tests.api.conftest import sqlite_service, sqlite_template, sqlite_url
from tests.api.running import FACTORS, Service, budget, over_http, priced, principal, record, token_of
from tests.api.test_windows import NODE, device, sent, window

__all__ = ["sqlite_service", "sqlite_template", "sqlite_url"]

DOCS = Path(__file__).parents[2] / "docs" / "audit.md"
BLOCKS = re.findall(r"```sh\n(.*?)```(?:\n\n```text\n(.*?)```)?", DOCS.read_text(encoding="utf-8"), re.DOTALL)
MEMBERS, SIGNATURE, TREE, FIGURES, SETTLED, CELLS, READINGS, LEAF, PROOF, RECORDS = range(10)
BY_HAND, WALK = range(FIGURES + 1), (SETTLED, CELLS, READINGS, LEAF, RECORDS)


@dataclass(frozen=True, slots=True)
class Taken:
    """What an auditor has: the unpacked bundle, the PDF of the same report, the key, and the service's address."""

    folder: Path
    pdf: bytes
    environment: dict[str, str]


COUNTER_MJ = (5_000_000_000, 5_270_000_000, 5_540_000_000, 5_600_000_000, 5_900_000_000)
"""What the counter read at 08:00 and at each quarter-hour after it."""


def counted(seq: int, quarter: int, active_mj: int, idle_mj: int, pod: str | None) -> Any:
    """A window of a quarter-hour: the counter at both ends, and active and idle share of a pod."""
    minute = 15 * quarter
    start, end = f"2026-11-20T08:{minute:02}:00Z", f"2026-11-20T08:{minute + 15:02}:00Z".replace("08:60", "09:00")
    names = {"pod_uid": pod, "namespace": pod and "vision", "pod": pod and f"pod-{pod}", "container": pod and "main"}
    counter = {"energy_start_mj": str(COUNTER_MJ[quarter]), "energy_end_mj": str(COUNTER_MJ[quarter + 1])}
    parts = {"active_mj": str(active_mj), "idle_mj": str(idle_mj), "allocated_gpu_ns": "900000000000"}
    return window(seq, start=start, end=end, **counter, **parts, **names)


def wrote(service: Service) -> None:
    """A log: a pod alone, nobody, two pods at once, a factor that came better, and a laptop without a meter."""
    service.context.keeper.make_key("test")
    path = service.settings.tokens_path
    path.write_text(path.read_text() + format_row(principal(NODE, Role.METER)) + "\n")
    priced(service)
    service.post("/v1/devices", device(), by=NODE)
    service.put("/v1/budgets/vision", budget())
    sent(
        service,
        counted(0, 0, 250_000_000, 20_000_000, "uid-a"),
        counted(1, 1, 230_000_000, 40_000_000, "uid-a"),
        counted(2, 2, 0, 60_000_000, None),
    )
    changed: dict[str, Any] = copy.deepcopy(dict(FACTORS))
    changed["rows"][0] |= {"ug_per_kwh": "380000000", "valid_from": "2026-11-01T00:00:00Z"}
    changed["rows"][0]["reference"]["version"] = "2026-2"
    service.put("/v1/factors", changed)
    sent(
        service,
        counted(3, 3, 150_000_000, 20_000_000, "uid-a"),
        counted(4, 3, 40_000_000, 10_000_000, "uid-b"),
    )
    own = {"uid": "run-own", "namespace": "vision", "pod_uid": "uid-a"}
    service.post("/v1/records", record("own", run=own))
    service.post("/v1/records", record("far", run={"uid": "run-far", "namespace": "vision", "cluster": "laptop"}))


@pytest.fixture
def taken(sqlite_service: Service, tmp_path: Path) -> Taken:
    if missing := [name for name in ("openssl", "sha256sum", "curl") if shutil.which(name) is None]:
        pytest.skip(f"{missing} are missing")
    wrote(sqlite_service)
    asked = {"since": "2026-11-20T00:00:00Z", "until": "2026-11-21T00:00:00Z"}
    made = f"/v1/reports/{sqlite_service.post('/v1/reports', asked).json()['id']}"
    with zipfile.ZipFile(io.BytesIO(sqlite_service.get(f"{made}.bundle").content)) as archive:
        archive.extractall(tmp_path / "folder")
    (tmp_path / "work").mkdir()
    environment = {
        "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
        "KEY": str(sqlite_service.context.keeper.keys()[0].verifier),
        "WORK": str(tmp_path / "work"),
        "TOKEN": token_of("auditor"),
        "LC_ALL": "C.UTF-8",
    }
    return Taken(tmp_path / "folder", sqlite_service.get(f"{made}.pdf").content, environment)


def run(step: int, taken: Taken, **more: str) -> subprocess.CompletedProcess[str]:
    command = ["bash", "-e", "-o", "pipefail", "-c", BLOCKS[step][0]]
    environment = taken.environment | more
    return subprocess.run(command, cwd=taken.folder, env=environment, capture_output=True, text=True, check=False)


def plain(text: str) -> str:
    """Without hashes: those of entries hold the instant at which the test ran."""
    return re.sub(r"\b[0-9a-f]{64}\b", "HASH", text)


def test_the_page_has_these_commands() -> None:
    assert len(BLOCKS) == RECORDS + 1
    assert [step for step, (_, told) in enumerate(BLOCKS) if told] == list(WALK)


def test_every_step_passes_on_a_good_bundle(taken: Taken) -> None:
    done = [run(step, taken) for step in BY_HAND]
    assert [each.returncode for each in done] == [0] * len(done), [each.stderr for each in done]
    assert "FAILED" not in done[MEMBERS].stdout
    assert "Verified Successfully" in done[SIGNATURE].stdout
    assert "60000000 mJ 7600000 ug" in done[FIGURES].stdout  # 1/60 kWh at PUE 1.2 and 380 g/kWh


@pytest.mark.parametrize("step", WALK)
def test_each_command_of_the_walk_prints_what_the_page_says(taken: Taken, step: int) -> None:
    done = run(step, taken)
    assert done.returncode == 0, done.stderr
    assert plain(done.stdout) == plain(BLOCKS[step][1])


def test_the_walk_begins_at_the_first_page_of_the_pdf_and_ends_at_the_counter(taken: Taken) -> None:
    # A root whose digits are wide takes a line more, and the table then begins on the second page.
    pages = PdfReader(io.BytesIO(taken.pdf)).pages[:2]
    page = " ".join(" ".join(each.extract_text() for each in pages).split())
    prose = DOCS.read_text(encoding="utf-8").partition("## From a figure")[2]
    for figure in re.findall(r"`([\d,]+ (?:Wh|mJ))`", prose)[:2]:
        assert figure in page
    whole = next(line for line in run(SETTLED, taken).stdout.splitlines() if "all that was charged" in line)
    meters, records = (re.findall(r"([\d]+) mJ", run(step, taken).stdout) for step in (CELLS, RECORDS))
    assert f"{int(meters[-1]) + 60_000_000} mJ" in whole, "what meters charged and the laptop's record"
    assert records[-2:] == ["60000000", "60000000"]
    assert f"{int(meters[-1]) + 60_000_000:,} mJ" in page
    assert "counter {} to {} mJ".format(*COUNTER_MJ[:2]) in run(READINGS, taken).stdout


def test_the_service_gives_the_same_proof(taken: Taken, sqlite_service: Service) -> None:
    with over_http(sqlite_service.app) as address:
        done = run(PROOF, taken, ADDRESS=address)
    assert done.returncode == 0, done.stderr
    proof = json.loads(done.stdout)
    path, root = [bytes.fromhex(each) for each in proof["hashes"]], bytes.fromhex(proof["root"])
    by_hand = run(LEAF, taken).stdout
    assert [each.hex() for each in path] == re.findall(r"with (\w{64})", by_hand)
    assert f"root {proof['root']} as in the checkpoint" in by_hand
    leaf = re.findall(r"leaf (\d+) of (\d+) (\w{64})", by_hand)[0]
    assert includes(bytes.fromhex(leaf[2]), int(leaf[0]), int(leaf[1]), path, root)


def test_a_changed_figure_fails_at_each_step_that_covers_it(taken: Taken) -> None:
    entries = taken.folder / "entries.jsonl"
    entries.write_text(entries.read_text().replace('"carbon_location_ug":"7600000"', '"carbon_location_ug":"7000000"'))
    assert [run(step, taken).returncode == 0 for step in BY_HAND] == [False, True, False, False]
    assert run(LEAF, taken).returncode != 0


def test_a_changed_window_is_in_no_entry(taken: Taken) -> None:
    windows = taken.folder / "windows.jsonl"
    windows.write_text(windows.read_text().replace('"energy_start_mj":"5000000000"', '"energy_start_mj":"5000000001"'))
    assert [run(step, taken).returncode == 0 for step in (MEMBERS, LEAF)] == [False, False]


def test_another_checkpoint_is_not_signed(taken: Taken) -> None:
    note = taken.folder / "checkpoint"
    note.write_text(note.read_text(encoding="utf-8").replace("/test/", "/tast/", 1), encoding="utf-8")
    assert run(SIGNATURE, taken).returncode != 0
