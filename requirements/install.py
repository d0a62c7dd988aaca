"""Makes the checkout's environments from the pins beside this file; run by `make setup`.

`.venv` holds the services, the command and the development tools, `.venv-kfp` what an author of
pipelines has. Both are rebuilt only when the pins, pyproject.toml or the interpreter changed. The
network is asked for packages only, by the indexes and certificates that pip is set up with.
"""

import ast
import fcntl
import hashlib
import os
import subprocess
import sys
import time
from pathlib import Path

OLDEST_PYTHON = (3, 11)
ROOT = Path(__file__).resolve().parents[1]
PINS = Path(__file__).resolve().parent
ENVIRONMENTS = {"services": ROOT / ".venv", "kfp": ROOT / ".venv-kfp"}
STAMP = "joulegate-pins"


def uv_settings(environment, pip_config):
    """What uv must be told to reach packages the way pip does here.

    `environment` is the process environment, `pip_config` the output of `pip config list`. Returns
    the variables to add. uv reads neither pip's files nor its variables; what the user has told uv
    itself wins. A folder of wheels that does not exist is left out, as pip only warns about it.
    """
    told = {}
    for line in pip_config.splitlines():
        name, found, value = line.partition("=")
        if found:
            key = name.rsplit(".", 1)[-1]
            if key not in told or name.startswith(":env:"):
                told[key] = ast.literal_eval(value)
    links = [
        link
        for link in told.get("find-links", "").split()
        if "://" in link or Path(link).is_dir()
    ]
    wanted = {
        "SSL_CERT_FILE": told.get("cert", ""),
        "UV_DEFAULT_INDEX": told.get("index-url", ""),
        "UV_INDEX": told.get("extra-index-url", "").replace("\n", " ").strip(),
        "UV_FIND_LINKS": ",".join(links),
        "UV_NO_INDEX": "1" if told.get("no-index", "") in {"1", "true", "True"} else "",
        "UV_PYTHON_DOWNLOADS": "never",
    }
    return {name: value for name, value in wanted.items() if value and name not in environment}


def stamp_of(name):
    """The fingerprint of everything that decides what the environment `name` contains."""
    digest = hashlib.sha256()
    for part in (PINS / f"{name}.txt", PINS / "tools.txt", ROOT / "pyproject.toml", Path(__file__)):
        digest.update(part.read_bytes())
    digest.update(f"{sys.version}\n{ROOT}".encode())
    return digest.hexdigest()


def is_current(name):
    """Whether the environment `name` was finished from these pins by this interpreter."""
    folder = ENVIRONMENTS[name]
    stamp = folder / STAMP
    return (
        (folder / "bin/python").exists()
        and stamp.is_file()
        and stamp.read_text(encoding="ascii") == stamp_of(name)
    )


def run(*command, **variables):
    """Runs one command; ends the program with one line when it fails."""
    done = subprocess.run(command, env={**os.environ, **variables}, check=False, cwd=ROOT)
    if done.returncode != 0:
        sys.exit(f"setup: failed with status {done.returncode}: {' '.join(command)}")


def install_uv(folder):
    """Puts the pinned uv into the environment `folder`, made first if need be; returns its path."""
    python = folder / "bin/python"
    version = f"import sys; sys.exit(sys.version != {sys.version!r})"
    usable = python.exists() and (
        subprocess.run([python, "-c", version], check=False, capture_output=True).returncode == 0
    )
    if not usable:
        run(sys.executable, "-m", "venv", "--clear", str(folder))
    # uv may have been lost with an interrupted run; pip answers at once when it is there.
    run(
        *(str(python), "-m", "pip", "install", "--quiet", "--disable-pip-version-check"),
        *("--require-hashes", "--requirement", str(PINS / "tools.txt")),
    )
    return folder / "bin/uv"


def install(name, uv, variables):
    """Fills the environment `name` with exactly its pins and the project as editable."""
    folder = ENVIRONMENTS[name]
    into = ("--quiet", "--python", str(folder / "bin/python"))
    pins = str(PINS / f"{name}.txt")
    run(str(uv), "pip", "sync", *into, "--require-hashes", pins, **variables)
    project = ("--no-deps", "--no-build-isolation", "--editable", str(ROOT))
    run(str(uv), "pip", "install", *into, *project, **variables)
    (folder / STAMP).write_text(stamp_of(name), encoding="ascii")


def main():
    """Brings every environment up to date and says what was done; quiet when nothing was."""
    if sys.version_info < OLDEST_PYTHON:
        sys.exit(
            "setup: Python {}.{} or newer is needed, this is {}: make setup PYTHON=python3.12".format(
                *OLDEST_PYTHON, sys.version.split()[0]
            )
        )
    with Path(__file__).open() as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        stale = [name for name in ENVIRONMENTS if not is_current(name)]
        if not stale:
            return
        begun = time.monotonic()
        print("setup: making " + " and ".join(ENVIRONMENTS[name].name for name in stale), flush=True)
        services = ENVIRONMENTS["services"]
        uv = install_uv(services)
        asked = [str(services / "bin/python"), "-m", "pip", "config", "list"]
        listed = subprocess.run(asked, check=False, capture_output=True, text=True)
        variables = uv_settings(os.environ, listed.stdout)
        for name in stale:
            folder = ENVIRONMENTS[name]
            if not (folder / "bin/python").exists() or name != "services":
                clear = ("--quiet", "--clear", "--python", sys.executable)
                run(str(uv), "venv", *clear, str(folder), **variables)
            install(name, uv, variables)
        print(f"setup: done in {time.monotonic() - begun:.0f} s", flush=True)


if __name__ == "__main__":
    main()
