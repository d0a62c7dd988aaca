"""What is installed: four packages with their data, no tests, and NVML as the only dependency."""

import subprocess
import sys
import tomllib
import zipfile
from email.parser import Parser
from pathlib import Path

import pynvml
import pytest

ROOT = Path(__file__).parents[2]
PACKAGES = ("plugin/joulegate", "api/joulegate_api", "operators/joulegate_operators", "migrations/joulegate_migrations")
# Rooms that need an extra; everything else of the library runs on the bare install.
EXTRA_ROOMS = (
    "joulegate.cli",
    "joulegate.integrations",
    "joulegate.pipelines",
    "joulegate.signing",
    "joulegate.verification",
)

IMPORT_EVERYTHING = """
import importlib, pkgutil, sys
import joulegate
extra = tuple(sys.argv[1:])
for module in pkgutil.walk_packages(joulegate.__path__, "joulegate."):
    if not module.name.startswith(extra) and not module.name.endswith("__main__"):
        importlib.import_module(module.name)
own = sys.stdlib_module_names | {"joulegate", "__main__"}
loaded = {name.partition(".")[0] for name in sys.modules} - own
print(*sorted(name for name in loaded if not name.startswith("_sysconfigdata_")))
"""


def names_in(wheel: Path) -> set[str]:
    """The paths of all files in the archive."""
    with zipfile.ZipFile(wheel) as archive:
        return set(archive.namelist())


@pytest.fixture(scope="module")
def bare(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of packages as on a machine that installed joulegate and nothing else."""
    folder = tmp_path_factory.mktemp("bare")
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(folder)
    (folder / "pynvml.py").symlink_to(pynvml.__file__)
    return folder


def run_bare(folder: Path, code: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Runs `code` where only the standard library and `folder` can be imported."""
    start = f"import sys; sys.path.append({str(folder)!r})\n"
    command = [sys.executable, "-I", "-S", "-W", "error", "-c", start + code, *arguments]
    return subprocess.run(command, check=False, capture_output=True, text=True, timeout=30)


def test_the_wheel_holds_every_file_of_the_packages_and_no_other(wheel: Path) -> None:
    expected = set()
    for package in PACKAGES:
        root = Path(package).parent
        listed = subprocess.run(
            ["git", "ls-files", "--cached", "--others", "--exclude-standard", package],
            cwd=ROOT,
            check=True,
            capture_output=True,
            text=True,
        )
        files = [Path(line) for line in listed.stdout.splitlines()]
        expected |= {str(path.relative_to(root)) for path in files if (ROOT / path).is_file()}
    assert {name for name in names_in(wheel) if ".dist-info/" not in name} == expected


def test_the_wheel_carries_data_templates_and_revisions(wheel: Path) -> None:
    kinds = {Path(name).suffix for name in names_in(wheel)}
    assert {".csv", ".html", ".mako", ".typed"} <= kinds


def test_the_bare_install_depends_on_nvml_alone(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        (metadata,) = [name for name in archive.namelist() if name.endswith("METADATA")]
        fields = Parser().parsestr(archive.read(metadata).decode())
    bare = [line for line in fields.get_all("Requires-Dist") or [] if "extra ==" not in line]
    assert bare == ["nvidia-ml-py>=12.535"]


def test_the_bare_install_imports_the_standard_library_and_nvml_alone(bare: Path) -> None:
    done = run_bare(bare, IMPORT_EVERYTHING, *EXTRA_ROOMS)
    assert done.returncode == 0, done.stderr
    assert set(done.stdout.split()) <= {"pynvml"}


def test_the_bare_install_runs_a_command_and_keeps_its_exit_code(bare: Path) -> None:
    done = run_bare(bare, "from joulegate.run import main; main()", "--", "sh", "-c", "echo done; exit 7")
    assert (done.returncode, done.stdout) == (7, "done\n")
    assert "not measured" in done.stderr


def test_without_its_extra_the_command_names_it_in_one_line(bare: Path) -> None:
    done = run_bare(bare, "from joulegate.cli import main; sys.exit(main())", "doctor")
    assert done.returncode == 1
    assert done.stdout == ""
    assert done.stderr.count("\n") == 1
    assert "joulegate[cli]" in done.stderr


def test_every_script_and_command_of_the_metadata_can_be_loaded() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    targets = {*project["scripts"].values()}
    for group in project["entry-points"].values():
        targets |= set(group.values())
    for target in sorted(targets):
        module, _, name = target.partition(":")
        code = f"import {module}; assert callable({module}.{name})"
        done = subprocess.run([sys.executable, "-c", code], check=False, capture_output=True, text=True)
        assert done.returncode == 0, f"{target}: {done.stderr}"
