"""The host's counters: what is added, what is not, and what it means that one may not be read."""

from __future__ import annotations

from pathlib import Path

import pytest

from joulegate.core.errors import UnavailableError
from joulegate.core.metering import Method
from joulegate.host import HostEnergy, RaplReader, find_domains, open_host


def zone(root: Path, path: str, name: str, energy: int, largest: int = 262_143_328_850) -> Path:
    folder = root / path
    folder.mkdir(parents=True)
    (folder / "name").write_text(f"{name}\n")
    (folder / "energy_uj").write_text(f"{energy}\n")
    (folder / "max_energy_range_uj").write_text(f"{largest}\n")
    return folder


@pytest.fixture
def server(tmp_path: Path) -> Path:
    """Two sockets with DRAM and everything that overlaps with them."""
    zone(tmp_path, "intel-rapl:0", "package-0", 1_000_000)
    zone(tmp_path, "intel-rapl:0:0", "core", 1)
    zone(tmp_path, "intel-rapl:0:1", "dram", 2_000_000)
    zone(tmp_path, "intel-rapl:1", "package-1", 3_000_000)
    zone(tmp_path, "intel-rapl:1:0", "dram", 4_000_000)
    zone(tmp_path, "intel-rapl:1:1", "uncore", 1)
    zone(tmp_path, "intel-rapl:2", "psys", 1)
    zone(tmp_path, "intel-rapl-mmio:0", "package-0", 1)
    return tmp_path


def test_packages_and_their_memory_are_added_and_nothing_twice(server: Path) -> None:
    names = [domain.name for domain in find_domains(server)]
    assert names == ["package-0", "package-0/dram", "package-1", "package-1/dram"]


def test_energy_is_counted_from_the_first_reading(server: Path) -> None:
    reader = RaplReader(server)
    assert reader.read() == 0
    (server / "intel-rapl:0" / "energy_uj").write_text("6000000\n")
    (server / "intel-rapl:1:0" / "energy_uj").write_text("4500000\n")
    assert reader.read() == 5_500
    assert reader.read() == 5_500


def test_a_counter_that_begins_again_goes_on(tmp_path: Path) -> None:
    folder = zone(tmp_path, "intel-rapl:0", "package-0", 900_000, largest=999_999)
    reader = RaplReader(tmp_path)
    (folder / "energy_uj").write_text("100000")
    assert reader.read() == 200
    (folder / "energy_uj").write_text("50000")
    assert reader.read() == 1_150


def test_no_counter_is_not_measured_and_says_why(tmp_path: Path) -> None:
    found = open_host(tmp_path)
    assert isinstance(found, HostEnergy)
    assert (found.energy_mj, found.method) == (None, Method.NOT_MEASURED)
    assert "no RAPL counter" in found.reason


def test_a_counter_that_may_not_be_read_is_not_measured_and_says_why(server: Path) -> None:
    """Reading fails as for a user who is not root; root may read anything, so a folder stands in."""
    counter = server / "intel-rapl:1" / "energy_uj"
    counter.unlink()
    counter.mkdir()
    found = open_host(server)
    assert isinstance(found, HostEnergy)
    assert found.energy_mj is None
    assert "energy_uj" in found.reason


def test_a_counter_that_disappears_is_said(server: Path) -> None:
    reader = RaplReader(server)
    (server / "intel-rapl:0" / "energy_uj").unlink()
    with pytest.raises(UnavailableError, match="energy_uj"):
        reader.read()


@pytest.mark.parametrize("content", ["", "much", "-5"])
def test_a_counter_that_shows_no_number_is_said(server: Path, content: str) -> None:
    (server / "intel-rapl:0" / "energy_uj").write_text(content)
    with pytest.raises(UnavailableError, match="energy_uj"):
        RaplReader(server)
