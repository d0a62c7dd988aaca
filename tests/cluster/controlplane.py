"""A real control plane on loopback: etcd, API server, controllers, scheduler, with RBAC and certificates.

Everything that it is made of lies in one folder, which also names its processes, so that whoever
comes next can stop what a killed owner left behind.
"""

from __future__ import annotations

import contextlib
import json
import os
import random
import shutil
import signal
import socket
import ssl
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from tests.cluster.certificates import Authority, KeyPair, signing_pair
from tests.cluster.programs import Programs

START_TIMEOUT_S: Final = 90
STOP_TIMEOUT_S: Final = 20
SERVICES: Final = "10.96.0.0/16"
_PORTS: Final = range(20_000, 32_000)  # below those that clients are given


class NotStartedError(RuntimeError):
    """The control plane did not come up; the message ends with what its programs said last."""


@dataclass(frozen=True, slots=True)
class ControlPlane:
    """A control plane in `folder`, started there or still to be started."""

    folder: Path

    @property
    def kubeconfig(self) -> Path:
        """The settings of a client that may do everything."""
        return self.folder / "kubeconfig"

    @property
    def certificates(self) -> Path:
        """The folder of the authority that this control plane trusts."""
        return self.folder / "pki"

    @property
    def address(self) -> str:
        """Where the API server listens."""
        return str(self._server()["server"])

    def is_running(self) -> bool:
        """Whether every process that was started here still runs."""
        started = self._started()
        return bool(started) and all(running_since(pid) == since for pid, since in started.values())

    def start(self, programs: Programs) -> None:
        """Start from nothing; seconds. Raises :class:`NotStartedError`."""
        self.stop()
        shutil.rmtree(self.folder, ignore_errors=True)
        self.folder.mkdir(parents=True, mode=0o700)
        try:
            self._start(programs, _free_ports(3))
        except BaseException:
            self.stop()
            raise

    def stop(self) -> None:
        """End the processes that were started here, clients before what they talk to, each by its id."""
        for name, (pid, since) in reversed(self._started().items()):
            end(pid, since, gently=name != "etcd")
        (self.folder / "pids.json").unlink(missing_ok=True)

    def remove(self) -> None:
        """Stop, and leave nothing."""
        self.stop()
        shutil.rmtree(self.folder, ignore_errors=True)

    def kubeconfig_of(self, user: str, group: str | None = None) -> Path:
        """The settings of a client with a certificate of its own, as `user` in `group`."""
        file = user.replace(":", "-")
        pair = Authority.load(self.certificates).client(file, user, group)
        return self._kubeconfig(f"{file}.kubeconfig", self._server(), pair)

    def serving_pair(self, name: str, hosts: Sequence[str] = ("127.0.0.1", "localhost")) -> KeyPair:
        """A certificate for a server that this control plane trusts, such as a webhook's."""
        return Authority.load(self.certificates).server(name, list(hosts))

    def _start(self, programs: Programs, ports: Sequence[int]) -> None:
        etcd_port, peer_port, port = ports
        authority = Authority.create(self.certificates)
        server = {"server": f"https://127.0.0.1:{port}", "certificate-authority": str(authority.certificate)}
        (self.folder / "address.json").write_text(json.dumps(server), encoding="utf-8")
        admin = authority.client("admin", "admin", "system:masters")
        tokens = signing_pair(self.certificates, "tokens")
        etcd = f"http://127.0.0.1:{etcd_port}"
        peer = f"http://127.0.0.1:{peer_port}"
        self._run(
            programs.etcd,
            f"--data-dir={self.folder / 'etcd'}",
            f"--listen-client-urls={etcd}",
            f"--advertise-client-urls={etcd}",
            f"--listen-peer-urls={peer}",
            f"--initial-advertise-peer-urls={peer}",
            f"--initial-cluster=default={peer}",
            "--unsafe-no-fsync",
        )
        self._run(programs.apiserver, *self._apiserver(authority, tokens, port, etcd))
        self._wait(f"{server['server']}/readyz", authority, admin)
        self._start_controllers(programs, authority, tokens, server)
        self._kubeconfig("kubeconfig", server, admin)
        self._wait(f"{server['server']}/api/v1/namespaces/default/serviceaccounts/default", authority, admin)

    def _apiserver(self, authority: Authority, tokens: KeyPair, port: int, etcd: str) -> list[str]:
        serving = authority.server("apiserver", ["127.0.0.1", "localhost", "kubernetes.default.svc"])
        webhooks = authority.client("apiserver-webhooks", "kube-apiserver", "joulegate:admission")
        return [
            f"--etcd-servers={etcd}",
            f"--secure-port={port}",
            "--bind-address=127.0.0.1",
            f"--service-cluster-ip-range={SERVICES}",
            "--allow-privileged",
            f"--cert-dir={self.certificates}",
            f"--tls-cert-file={serving.certificate}",
            f"--tls-private-key-file={serving.key}",
            f"--client-ca-file={authority.certificate}",
            "--authorization-mode=Node,RBAC",
            "--enable-admission-plugins=NodeRestriction",
            f"--admission-control-config-file={self._admission(webhooks)}",
            "--service-account-issuer=https://kubernetes.default.svc",
            f"--service-account-key-file={tokens.certificate}",
            f"--service-account-signing-key-file={tokens.key}",
            "--anonymous-auth=false",
            "--profiling=false",
            "--endpoint-reconciler-type=none",  # nothing here reaches the service's address
        ]

    def _admission(self, pair: KeyPair) -> Path:
        """The file that makes the API server present the certificate `pair` to every webhook."""
        user = {"client-certificate": str(pair.certificate), "client-key": str(pair.key)}
        kubeconfig = {"apiVersion": "v1", "kind": "Config", "users": [{"name": "*", "user": user}]}
        credentials = self.folder / "webhooks.kubeconfig"
        credentials.write_text(json.dumps(kubeconfig), encoding="utf-8")
        configuration = {
            "apiVersion": "apiserver.config.k8s.io/v1",
            "kind": "WebhookAdmissionConfiguration",
            "kubeConfigFile": str(credentials),
        }
        plugins = ("MutatingAdmissionWebhook", "ValidatingAdmissionWebhook")
        whole = {
            "apiVersion": "apiserver.config.k8s.io/v1",
            "kind": "AdmissionConfiguration",
            "plugins": [{"name": name, "configuration": configuration} for name in plugins],
        }
        path = self.folder / "admission.json"
        path.write_text(json.dumps(whole), encoding="utf-8")
        return path

    def _start_controllers(
        self, programs: Programs, authority: Authority, tokens: KeyPair, server: dict[str, str]
    ) -> None:
        manager = authority.client("controllers", "system:kube-controller-manager")
        scheduler = authority.client("scheduler", "system:kube-scheduler")
        self._run(
            programs.controllers,
            f"--kubeconfig={self._kubeconfig('controllers.kubeconfig', server, manager)}",
            f"--service-account-private-key-file={tokens.key}",
            f"--root-ca-file={authority.certificate}",
            "--use-service-account-credentials",  # as kubeadm does: each controller is an account of its own
            "--leader-elect=false",
            "--secure-port=0",
        )
        self._run(
            programs.scheduler,
            f"--kubeconfig={self._kubeconfig('scheduler.kubeconfig', server, scheduler)}",
            "--leader-elect=false",
            "--secure-port=0",
        )

    def _server(self) -> dict[str, str]:
        return dict(json.loads((self.folder / "address.json").read_text(encoding="utf-8")))

    def _kubeconfig(self, name: str, server: dict[str, str], pair: KeyPair) -> Path:
        user = {"client-certificate": str(pair.certificate), "client-key": str(pair.key)}
        configuration = {
            "apiVersion": "v1",
            "kind": "Config",
            "clusters": [{"name": "joulegate-test", "cluster": server}],
            "users": [{"name": "client", "user": user}],
            "contexts": [{"name": "joulegate-test", "context": {"cluster": "joulegate-test", "user": "client"}}],
            "current-context": "joulegate-test",
        }
        path = self.folder / name
        path.write_text(json.dumps(configuration), encoding="utf-8")  # JSON is YAML
        return path

    def _run(self, program: Path, *arguments: str) -> None:
        # Spawned, not held as a child: `make cluster` ends and these go on.
        with (self.folder / f"{program.name}.log").open("wb") as log:
            actions = [
                (os.POSIX_SPAWN_OPEN, 0, os.devnull, os.O_RDONLY, 0),
                (os.POSIX_SPAWN_DUP2, log.fileno(), 1),
                (os.POSIX_SPAWN_DUP2, log.fileno(), 2),
            ]
            command = [str(program), *arguments]
            pid = os.posix_spawn(program, command, os.environ, file_actions=actions, setsid=True)
        started = {**self._started(), program.name: (pid, running_since(pid))}
        (self.folder / "pids.json").write_text(json.dumps(started), encoding="utf-8")

    def _wait(self, url: str, authority: Authority, admin: KeyPair) -> None:
        context = ssl.create_default_context(cafile=str(authority.certificate))
        context.load_cert_chain(admin.certificate, admin.key)
        end = time.monotonic() + START_TIMEOUT_S
        while time.monotonic() < end:
            try:
                with urllib.request.urlopen(url, context=context, timeout=5):  # noqa: S310 -- https, our own address
                    return
            except (OSError, urllib.error.URLError):
                time.sleep(0.1)
            if not self.is_running():
                break
        raise NotStartedError(self._last_words(url))

    def _last_words(self, url: str) -> str:
        logs = sorted(self.folder.glob("*.log"))
        tails = (f"{log.name}:\n{log.read_text(encoding='utf-8', errors='replace')[-1500:]}" for log in logs)
        return f"no answer from {url}\n" + "\n".join(tails)

    def _started(self) -> dict[str, tuple[int, str]]:
        """The processes that were started here: their ids, and since when each ran under its id."""
        try:
            told = json.loads((self.folder / "pids.json").read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return {}
        return {name: (pid, since) for name, (pid, since) in told.items()}


def running_since(pid: int) -> str | None:
    """When the process of this id began, as the system writes it; None where none runs under it.

    An id may have gone to somebody else, and a command line is empty while a program is being loaded:
    the id with its beginning is what names a process.
    """
    with contextlib.suppress(ChildProcessError):
        os.waitpid(pid, os.WNOHANG)  # a child that ended
    if Path("/proc").is_dir():
        try:
            status = Path(f"/proc/{pid}/stat").read_text(encoding="ascii", errors="replace")
        except OSError:
            return None
        state, *fields = status.rpartition(")")[2].split()
        return None if state in "ZX" else fields[18]  # starttime, field 22 of proc(5)
    listed = subprocess.run(["ps", "-o", "lstart=", "-p", str(pid)], check=False, capture_output=True, text=True)
    return listed.stdout.strip() or None


def end(pid: int, since: str, *, gently: bool) -> None:
    """End the process `pid` that began at `since`, and no other; raises where it does not end."""
    deadline = time.monotonic() + STOP_TIMEOUT_S
    sent = None
    while running_since(pid) == since:
        wanted = signal.SIGTERM if gently and time.monotonic() < deadline - STOP_TIMEOUT_S / 2 else signal.SIGKILL
        if wanted is not sent:
            os.kill(pid, wanted)
            sent = wanted
        if time.monotonic() > deadline:
            message = f"process {pid} does not end"
            raise RuntimeError(message)
        time.sleep(0.02)


def _free_ports(count: int) -> list[int]:
    held = []
    try:
        for port in random.sample(_PORTS, len(_PORTS)):
            probe = socket.socket()
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                probe.close()
                continue
            held.append(probe)
            if len(held) == count:
                return [probe.getsockname()[1] for probe in held]
    finally:
        for probe in held:
            probe.close()
    message = f"fewer than {count} ports are free"
    raise NotStartedError(message)
