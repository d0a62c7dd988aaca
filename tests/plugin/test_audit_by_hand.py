"""The steps of docs/audit.md do by hand, with common tools, what verify does; on a changed bundle one of them fails."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from tests.api.conftest import sqlite_service, sqlite_template, sqlite_url
from tests.api.running import Service, priced, record

__all__ = ["sqlite_service", "sqlite_template", "sqlite_url"]

DOCS = Path(__file__).parents[2] / "docs" / "audit.md"
STEPS = re.findall(r"```sh\n(.*?)```", DOCS.read_text(encoding="utf-8"), re.DOTALL)
MEMBERS, SIGNATURE, TREE, FIGURES, WALK = range(5)


@pytest.fixture
def unpacked(sqlite_service: Service, tmp_path: Path) -> tuple[Path, str]:
    """A bundle's folder, and the key."""
    if shutil.which("openssl") is None or shutil.which("sha256sum") is None:
        pytest.skip("openssl or sha256sum is missing")
    sqlite_service.context.keeper.make_key("test")
    priced(sqlite_service)
    sqlite_service.post("/v1/records", record())
    asked = {"since": "2026-11-20T00:00:00Z", "until": "2026-11-21T00:00:00Z"}
    made = sqlite_service.post("/v1/reports", asked).json()
    path = tmp_path / "bundle.zip"
    path.write_bytes(sqlite_service.get(f"/v1/reports/{made['id']}.bundle").content)
    with zipfile.ZipFile(path) as archive:
        archive.extractall(tmp_path / "folder")
    return tmp_path / "folder", str(sqlite_service.context.keeper.keys()[0].verifier)


def run(step: int, folder: Path, key: str) -> subprocess.CompletedProcess[str]:
    work = folder.parent / "work"
    work.mkdir(exist_ok=True)
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    command = ["bash", "-e", "-o", "pipefail", "-c", STEPS[step]]
    environment = {"PATH": path, "KEY": key, "WORK": str(work), "LC_ALL": "C.UTF-8"}
    return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)


def test_every_step_passes_on_a_good_bundle(unpacked: tuple[Path, str]) -> None:
    assert len(STEPS) == 5
    done = [run(step, *unpacked) for step in range(5)]
    assert [each.returncode for each in done] == [0, 0, 0, 0, 0], [each.stderr for each in done]
    assert "FAILED" not in done[MEMBERS].stdout
    assert "Verified Successfully" in done[SIGNATURE].stdout
    assert "60000000 mJ 8000000 ug" in done[FIGURES].stdout  # 1/60 kWh at PUE 1.2 and 400 g/kWh
    assert "printed 60000000 mJ: entry" in done[WALK].stdout
    assert "GPU-1 2026-11-20T08:00:00Z 2026-11-20T08:05:00Z nvml_counter accelerator 60000000 mJ" in done[WALK].stdout


def test_a_changed_figure_fails_at_each_step_that_covers_it(unpacked: tuple[Path, str]) -> None:
    folder, key = unpacked
    entries = folder / "entries.jsonl"
    entries.write_text(entries.read_text().replace('"carbon_location_ug":"8000000"', '"carbon_location_ug":"7000000"'))
    assert [run(step, folder, key).returncode == 0 for step in range(4)] == [False, True, False, False]


def test_another_checkpoint_is_not_signed(unpacked: tuple[Path, str]) -> None:
    folder, key = unpacked
    note = folder / "checkpoint"
    note.write_text(note.read_text(encoding="utf-8").replace("/test/", "/tast/", 1), encoding="utf-8")
    assert run(SIGNATURE, folder, key).returncode != 0
