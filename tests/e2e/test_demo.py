"""The demo, run as a newcomer runs it, and what it leaves behind."""

import io
import json
import os
import re
import signal
import subprocess
import sys
import time
import urllib.request
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest
from pypdf import PdfReader

from joulegate.client import Client
from joulegate.core.errors import JoulegateError

ROOT = Path(__file__).parents[2]
COMMAND = ROOT / ".venv/bin/joulegate"
pytestmark = [pytest.mark.e2e, pytest.mark.timeout(400)]


@dataclass(frozen=True)
class Ran:
    """What the demo said, where it left its things, and the checkout before and after."""

    code: int
    said: str
    before: str
    after: str

    @property
    def folder(self) -> Path:
        """The folder of this run."""
        found = re.search(r"report +(demo-out/\S+?)/report/", self.said)
        assert found, self.said
        return ROOT / found[1]


def git_status() -> str:
    """What git sees where the demo reads and writes."""
    return subprocess.run(
        ["/usr/bin/env", "git", "status", "--porcelain", "--", "docs/demo", "demo-out"],
        cwd=ROOT,
        check=True,
        capture_output=True,
        text=True,
    ).stdout


@pytest.fixture(scope="module")
def ran() -> Ran:
    before = git_status()
    command = [sys.executable, str(ROOT / "docs/demo/run.py")]
    # From another folder, as somebody may; with a proxy that leads nowhere, as some networks have.
    environment = {**os.environ, "http_proxy": "http://127.0.0.1:9"}
    done = subprocess.run(command, cwd="/", env=environment, check=False, capture_output=True, text=True, timeout=380)
    return Ran(done.returncode, done.stdout + done.stderr, before, git_status())


@contextmanager
def serving(home: Path) -> Iterator[tuple[Client, str]]:
    """`joulegate up` on a home, with the link that it prints."""
    environment = {**os.environ, "JOULEGATE_HOME": str(home)}
    with subprocess.Popen(
        [COMMAND, "up", "--port", "0"], env=environment, stdout=subprocess.PIPE, text=True, start_new_session=True
    ) as server:
        try:
            assert server.stdout
            said = "".join(iter(server.stdout.readline, "Interrupt to stop.\n"))
            link = re.search(r"http\S+/login\S+", said)
            assert link, said
            yield Client.from_home(environment), link[0]
        finally:
            server.send_signal(signal.SIGINT)
            server.wait(timeout=30)


def test_it_ends_well_and_leaves_the_checkout_clean(ran: Ran) -> None:
    assert ran.code == 0, ran.said
    assert ran.before == ran.after
    assert "Traceback" not in ran.said


def test_every_step_was_measured_and_its_record_taken(ran: Ran) -> None:
    for step in ("load-digits", "train", "distil", "sparsify", "quantise", "evaluate", "evaluate-4"):
        assert re.search(rf"^    {step} +[\d,.]+ m?k?J in .+ GPU", ran.said, re.MULTILINE), step
    assert "waits in" not in ran.said
    assert list((ran.folder / "home/spool").glob("*.json")) == []


def text_of(report: Path) -> str:
    """What a file of any format says."""
    data = report.read_bytes()
    if report.suffix == ".pdf":
        return "".join(page.extract_text() for page in PdfReader(io.BytesIO(data)).pages)
    if report.suffix == ".xlsx":
        with zipfile.ZipFile(io.BytesIO(data)) as book:
            return book.read("xl/sharedStrings.xml").decode()
    return data.decode(errors="replace")  # the bundle is a zip that stores its files as they are


def test_replayed_energy_says_so_in_every_place(ran: Ran) -> None:
    if "No GPU can be read here" not in ran.said:
        pytest.skip("a GPU was measured")
    assert ran.said.count("(replayed)") >= 9
    assert "replayed" in (ran.folder / "comparison.svg").read_text(encoding="utf-8")
    for report in (ran.folder / "report").iterdir():
        assert "replayed" in text_of(report), report.name


def test_variants_are_compared_by_accuracy_and_energy(ran: Ran) -> None:
    rows = re.findall(r"^    (original|distilled|sparse|quantised) +(0\.\d+) ", ran.said, re.MULTILINE)
    assert len(rows) == 4
    assert all(float(accuracy) > 0.95 for _, accuracy in rows)
    picture = ET.fromstring((ran.folder / "comparison.svg").read_text(encoding="utf-8"))  # noqa: S314 -- our own
    words = {text.text for text in picture.iter("{http://www.w3.org/2000/svg}text")}
    assert {"original", "distilled", "sparse", "quantised"} <= words


def test_the_large_job_is_refused_with_its_reason_and_the_small_one_is_held(ran: Ran) -> None:
    assert re.search(r"429 .*exceeded quota.*digits-team.*would have fitted.*\[EstimateExceedsAvailable\]", ran.said)
    assert "basis prior" in ran.said
    assert re.search(r"allow \(allowed\)", ran.said)
    assert re.search(r"^    hold +\S+", ran.said, re.MULTILINE)


def test_the_report_adds_up_and_is_there(ran: Ran) -> None:
    assert "equal, to the last unit" in ran.said
    endings = {path.name.partition(".")[2] for path in (ran.folder / "report").iterdir()}
    assert endings == {
        "json", "csv", "html", "xlsx", "pdf", "sci.json", "huggingface.yaml", "ai-act.csv", "cdx.json", "spdx.json",
        "focus.csv", "bundle.zip",
    }  # fmt: skip


def test_the_server_is_gone_and_the_printed_command_shows_everything_again(ran: Ran) -> None:
    address = re.search(r"dashboard +(http://\S+)", ran.said)
    assert address
    with pytest.raises(JoulegateError):
        Client(address[1].rstrip("/"), retry_s=0).read("/healthz")
    with serving(ran.folder / "home") as (client, link):
        assert len(client.get("/v1/records?limit=50")["records"]) == 9
        opener = urllib.request.build_opener(
            urllib.request.ProxyHandler({}), urllib.request.HTTPCookieProcessor()
        )  # a browser: keeps the cookie that the link sets
        page = opener.open(link, timeout=30).read().decode()
        assert "digits-team" in page


def test_windows_of_work_last_three_seconds_and_hold_nothing_else(ran: Ran) -> None:
    with serving(ran.folder / "home") as (client, _):
        records = client.get("/v1/records?limit=50")["records"]
        evaluated = [client.get(f"/v1/records/{r['record_id']}") for r in records if r["kind"] == "evaluation"]
    windows = [work for record in evaluated for work in record["work"]]
    assert len(windows) == 4
    for window in windows:
        length_s = seconds(window["end"]) - seconds(window["start"])
        assert 3 <= length_s < 60
        assert window["repeats"] >= 1
        assert int(window["energy_mj"]) > 0


def seconds(instant: str) -> float:
    """Seconds of the day; the demo does not last one."""
    hours, minutes, rest = instant.partition("T")[2].rstrip("Z").split(":")
    return int(hours) * 3600 + int(minutes) * 60 + float(rest)


def test_a_record_made_while_the_api_is_away_arrives_once_when_it_is_back(tmp_path: Path) -> None:
    environment = {**os.environ, "JOULEGATE_HOME": str(tmp_path), "JOULEGATE_REPLAY": "a100_square"}
    runner = [sys.executable, "-m", "joulegate.run", "--kind", "training", "--"]
    begun = time.monotonic()
    away = subprocess.run([*runner, "sh", "-c", "exit 5"], env=environment, check=False, capture_output=True, text=True)
    assert away.returncode == 5
    assert time.monotonic() - begun < 15
    assert "waits in" in away.stderr
    waiting = [json.loads(path.read_text())["record_id"] for path in (tmp_path / "spool").glob("*.json")]
    assert len(waiting) == 1
    with serving(tmp_path) as (client, _):
        for _ in range(2):
            back = subprocess.run([*runner, "true"], env=environment, check=True, capture_output=True, text=True)
            assert " sent" in back.stderr, back.stderr
        ids = [record["record_id"] for record in client.get("/v1/records?limit=50")["records"]]
    assert ids.count(waiting[0]) == 1
    assert len(ids) == 3
