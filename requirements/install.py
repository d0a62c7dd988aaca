"""Makes the checkout's environments from the pins beside this file; run by `make setup`.

    python requirements/install.py            bring .venv and .venv-kfp up to date
    python requirements/install.py --bench    the same for .venv-bench
    python requirements/install.py --resolve  write the pins again; --upgrade after it: newest ones

`.venv` holds the services, the command and the development tools, `.venv-kfp` what an author of
pipelines has, `.venv-bench` the tools that `make bench` measures beside us. They are filled again
only when the pins, the package's metadata or the interpreter changed. The network is asked for
packages only, by the indexes and certificates that pip uses.
"""

import ast
import fcntl
import hashlib
import os
import subprocess
import sys
import time
import tomllib
from collections.abc import Mapping, Sequence
from pathlib import Path

OLDEST_PYTHON = "3.11"
PINS = Path(__file__).resolve().parent
ROOT = PINS.parent
STAMP = "joulegate-pins"
ENVIRONMENTS = {"services": ROOT / ".venv", "kfp": ROOT / ".venv-kfp", "bench": ROOT / ".venv-bench"}
USUAL = ("services", "kfp")
RESOLVED = {
    "services": ("--extra", "cli", "--extra", "api", "--extra", "node", "--group", "dev"),
    "kfp": ("--extra", "pipelines", "--extra", "codecarbon", "--group", "kfp"),
    "bench": ("--group", "bench"),
    "tools": ("--no-deps", "--group", "tools"),
}


def uv_settings(environment: Mapping[str, str], pip_config: str) -> dict[str, str]:
    """What uv must be told to reach packages the way pip does here.

    `environment` is the process environment, `pip_config` the output of `pip config list`. Returns
    the variables to add: uv reads neither pip's files nor its variables. What the user has told uv
    itself wins. A folder of wheels that does not exist is left out; pip only warns about it.
    """
    told: dict[str, str] = {}
    for line in pip_config.splitlines():
        name, found, value = line.partition("=")
        key = name.rsplit(".", 1)[-1]
        if found and (key not in told or name.startswith(":env:")):
            told[key] = str(ast.literal_eval(value))
    links = told.get("find-links", "").split()
    wanted = {
        "SSL_CERT_FILE": told.get("cert", ""),
        "UV_DEFAULT_INDEX": told.get("index-url", ""),
        "UV_INDEX": " ".join(told.get("extra-index-url", "").split()),
        "UV_FIND_LINKS": ",".join(link for link in links if "://" in link or Path(link).is_dir()),
        "UV_NO_INDEX": "1" if told.get("no-index", "").lower() in {"1", "true", "yes", "on"} else "",
        "UV_PYTHON_DOWNLOADS": "never",
    }
    return {name: value for name, value in wanted.items() if value and name not in environment}


def stamp_of(name: str) -> str:
    """The fingerprint of everything that decides what the environment `name` contains.

    Of pyproject.toml only what the installed package is made of: settings of tools change nothing.
    """
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    digest = hashlib.sha256()
    for part in (PINS / f"{name}.txt", PINS / "tools.txt", Path(__file__)):
        digest.update(part.read_bytes())
    for table in (project["build-system"], project["project"], project["tool"]["hatch"]):
        digest.update(repr(table).encode())
    digest.update(f"{sys.version}\n{ROOT}".encode())
    return digest.hexdigest()


def is_current(name: str) -> bool:
    """Whether the environment `name` was finished from these pins by this interpreter."""
    stamp = ENVIRONMENTS[name] / STAMP
    return (
        (ENVIRONMENTS[name] / "bin/python").exists()
        and stamp.is_file()
        and stamp.read_text(encoding="ascii") == stamp_of(name)
    )


def is_usable(folder: Path) -> bool:
    """Whether `folder` is an environment of the interpreter that runs this."""
    python = folder / "bin/python"
    same = f"import sys; sys.exit(sys.version != {sys.version!r})"
    if not python.exists():
        return False
    return subprocess.run([python, "-c", same], check=False, capture_output=True).returncode == 0


def run(command: list[str], settings: Mapping[str, str] | None = None) -> None:
    """Runs one command with `settings` added to its environment; a failure ends the program."""
    done = subprocess.run(command, env={**os.environ, **(settings or {})}, check=False, cwd=ROOT)
    if done.returncode != 0:
        sys.exit(f"setup: failed with status {done.returncode}: {' '.join(command)}")


def uv_of(folder: Path) -> tuple[str, dict[str, str]]:
    """The pinned uv, put into the environment `folder` if it is not there yet, and its settings."""
    if not is_usable(folder):
        run([sys.executable, "-m", "venv", "--clear", str(folder)])
    pip = [str(folder / "bin/python"), "-m", "pip"]
    # pip answers at once when this uv is there already.
    quiet = ["--quiet", "--disable-pip-version-check"]
    run([*pip, "install", *quiet, "--require-hashes", "-r", str(PINS / "tools.txt")])
    listed = subprocess.run([*pip, "config", "list"], check=False, capture_output=True, text=True)
    return str(folder / "bin/uv"), uv_settings(os.environ, listed.stdout)


def install(name: str, uv: str, settings: Mapping[str, str]) -> None:
    """Fills the environment `name` with exactly its pins, and with the project as editable."""
    folder = ENVIRONMENTS[name]
    if not is_usable(folder):
        run([uv, "venv", "-q", "--clear", "--python", sys.executable, str(folder)], settings)
    into = ["--quiet", "--python", str(folder / "bin/python")]
    run([uv, "pip", "sync", *into, "--require-hashes", str(PINS / f"{name}.txt")], settings)
    project = ["--no-deps", "--no-build-isolation", "--editable", str(ROOT)]
    run([uv, "pip", "install", *into, *project], settings)
    (folder / STAMP).write_text(stamp_of(name), encoding="ascii")


def resolve(*, upgrade: bool) -> None:
    """Writes the pins again from the ranges in pyproject.toml, hashed and without any address."""
    uv, settings = uv_of(ENVIRONMENTS["services"])
    for name, parts in RESOLVED.items():
        pins = PINS / f"{name}.txt"
        command = [uv, "pip", "compile", "--quiet", "pyproject.toml", *parts]
        command += ["--universal", "--python-version", OLDEST_PYTHON]
        command += ["--generate-hashes", "--no-header", "--no-annotate", "--output-file", str(pins)]
        run(command + ["--upgrade"] * upgrade, settings)


def bring_up_to_date(names: Sequence[str]) -> None:
    """Makes what is missing or stale of these and says so; silent when nothing is."""
    stale = [name for name in names if not is_current(name)]
    if not stale:
        return
    begun = time.monotonic()
    folders = " and ".join(ENVIRONMENTS[name].name for name in stale)
    print(f"setup: installing into {folders}", flush=True)
    uv, settings = uv_of(ENVIRONMENTS["services"])
    for name in stale:
        install(name, uv, settings)
    print(f"setup: done in {time.monotonic() - begun:.0f} s", flush=True)


def main(arguments: list[str]) -> None:
    """Does what the module's docstring says, one process at a time."""
    with Path(__file__).open(encoding="utf-8") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if "--resolve" in arguments:
            resolve(upgrade="--upgrade" in arguments)
        else:
            bring_up_to_date(("bench",) if "--bench" in arguments else USUAL)


if __name__ == "__main__":
    main(sys.argv[1:])
