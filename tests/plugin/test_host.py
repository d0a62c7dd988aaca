"""The host's counters: what is added, what is not, and what it means that one may not be read."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from joulegate.core.errors import UnavailableError
from joulegate.core.metering import Method
from joulegate.host import AcpiReader, DeclaredReader, HostEnergy, PerfReader, RaplReader, find_domains, open_host

SECOND = 1_000_000_000


def zone(root: Path, path: str, name: str, energy: int, largest: int = 262_143_328_850) -> Path:
    folder = root / path
    folder.mkdir(parents=True)
    (folder / "name").write_text(f"{name}\n")
    (folder / "energy_uj").write_text(f"{energy}\n")
    (folder / "max_energy_range_uj").write_text(f"{largest}\n")
    return folder


@pytest.fixture
def server(tmp_path: Path) -> Path:
    """Two sockets with DRAM and everything that overlaps with them, as powercap shows them."""
    root = tmp_path / "class" / "powercap"
    zone(root, "intel-rapl:0", "package-0", 1_000_000)
    zone(root, "intel-rapl:0:0", "core", 1)
    zone(root, "intel-rapl:0:1", "dram", 2_000_000)
    zone(root, "intel-rapl:1", "package-1", 3_000_000)
    zone(root, "intel-rapl:1:0", "dram", 4_000_000)
    zone(root, "intel-rapl:1:1", "uncore", 1)
    zone(root, "intel-rapl:2", "psys", 1)
    zone(root, "intel-rapl-mmio:0", "package-0", 1)
    return root


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


def test_the_best_reader_there_is_is_opened(server: Path) -> None:
    opened = open_host(server.parents[1], declared_mw=5)
    assert isinstance(opened, RaplReader)
    assert opened.method is Method.RAPL_COUNTER
    assert "package-1/dram" in opened.what


def test_no_counter_is_not_measured_and_says_why(tmp_path: Path) -> None:
    found = open_host(tmp_path)
    assert isinstance(found, HostEnergy)
    assert (found.energy_mj, found.method) == (None, Method.NOT_MEASURED)
    assert "no RAPL counter" in found.reason
    assert "no perf events" in found.reason
    assert "no ACPI power meter" in found.reason


def test_a_counter_that_may_not_be_read_is_not_measured_and_says_why(server: Path) -> None:
    """Reading fails as for a user who is not root; root may read anything, so a folder stands in."""
    counter = server / "intel-rapl:1" / "energy_uj"
    counter.unlink()
    counter.mkdir()
    found = open_host(server.parents[1])
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


def perf_unit(folder: Path, *, event: str = "event=0x00", scale: str = "1e-9", cpus: str = "0\n") -> Path:
    """The kernel's own clock event, dressed as energy: what counts nanoseconds counts joules of a watt."""
    (folder / "events").mkdir(parents=True)
    (folder / "type").write_text("1\n")
    (folder / "cpumask").write_text(cpus)
    (folder / "events" / "energy-pkg").write_text(event)
    (folder / "events" / "energy-pkg.scale").write_text(scale)
    return folder


def test_perf_events_are_read_from_the_kernel(tmp_path: Path) -> None:
    try:
        reader = PerfReader(perf_unit(tmp_path / "power"))
    except UnavailableError as error:
        pytest.skip(f"this machine allows no perf events: {error}")
    begun = time.monotonic()
    assert reader.read() < 50
    time.sleep(0.1)
    energy_mj, elapsed = reader.read(), time.monotonic() - begun
    assert energy_mj == pytest.approx(elapsed * 1000, rel=0.2)
    assert reader.what == "RAPL by perf: energy-pkg of 1 package"
    reader.close()
    reader.close()


@pytest.mark.parametrize(
    "broken",
    [
        {"event": "config=1"},
        {"event": "event=zero"},
        {"scale": "much"},
        {"scale": "0"},
        {"scale": "nan"},
        {"scale": "-1"},
        {"cpus": ""},
        {"cpus": "99999"},
    ],
)
def test_perf_events_that_make_no_sense_are_not_read(tmp_path: Path, broken: dict[str, str]) -> None:
    with pytest.raises(UnavailableError):
        PerfReader(perf_unit(tmp_path / "power", **broken))


def meter(root: Path, name: str, label: str, power_uw: int) -> Path:
    folder = root / name
    (folder / "device").mkdir(parents=True)
    (folder / "name").write_text("power_meter\n")
    (folder / "device" / "power1_oem_info").write_text(label)
    (folder / "power1_average").write_text(str(power_uw))
    return folder


def test_power_meters_of_processors_are_integrated_and_the_module_left_out(tmp_path: Path) -> None:
    one = meter(tmp_path, "hwmon0", "Grace Power Socket 0", 100_000_000)
    meter(tmp_path, "hwmon1", "Grace Power Socket 1", 50_000_000)
    meter(tmp_path, "hwmon2", "Module Power Socket 0", 700_000_000)
    meter(tmp_path, "hwmon3", "CPU Power Socket 0", 80_000_000)
    meter(tmp_path, "hwmon4", "", 900_000_000)
    times = [0]
    reader = AcpiReader(tmp_path, lambda: times[-1])
    times.append(2 * SECOND)
    assert reader.read() == 300_000
    (one / "power1_average").write_text("200000000")
    times.append(3 * SECOND)
    assert reader.read() == 300_000 + 200_000
    assert reader.method is Method.ACPI_POWER_INTEGRAL


def test_a_power_meter_that_was_not_read_for_long_is_not_bridged(tmp_path: Path) -> None:
    meter(tmp_path, "hwmon0", "Grace Power Socket 0", 100_000_000)
    times = [0]
    reader = AcpiReader(tmp_path, lambda: times[-1])
    times.append(60 * SECOND)
    with pytest.raises(UnavailableError, match="60 s"):
        reader.read()


def test_a_declared_power_is_taken_only_where_nothing_can_be_read(tmp_path: Path) -> None:
    opened = open_host(tmp_path, declared_mw=90_000)
    assert isinstance(opened, DeclaredReader)
    assert opened.method is Method.DECLARED
    times = [0]
    reader = DeclaredReader(90_000, lambda: times[-1])
    times.append(10 * SECOND)
    assert reader.read() == 900_000
