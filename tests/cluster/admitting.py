"""A Joulegate API that admits for a control plane: the real process, its TLS port, and the chart's webhooks."""

from __future__ import annotations

import os
import signal
import socket
import ssl
import subprocess
import sys
from base64 import b64encode
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from joulegate.client import ApiError, Client
from joulegate.core.errors import UnavailableError
from joulegate.core.objects import API_VERSION
from tests.cluster.api import Api, Object, RefusedError, eventually
from tests.cluster.certificates import Authority, KeyPair
from tests.cluster.controlplane import ControlPlane
from tests.cluster.programs import Clients
from tests.cluster.test_chart import bound, rendered

ACCOUNT = "joulegate-api"
CONFIGURATION = "ValidatingWebhookConfiguration"
REGISTRATION = "admissionregistration.k8s.io/v1"


@dataclass(slots=True)
class Admitting:
    """One API process of a control plane."""

    plane: ControlPlane
    home: Path
    port: int
    pair: KeyPair
    kube: KeyPair
    database: str | None = None
    process: subprocess.Popen[bytes] | None = None
    webhooks: list[Object] = field(default_factory=list)

    @property
    def environment(self) -> dict[str, str]:
        authority = str(Authority.load(self.plane.certificates).certificate)
        return {
            **{key: value for key, value in os.environ.items() if not key.startswith("JOULEGATE_")},
            "JOULEGATE_HOME": str(self.home),
            "JOULEGATE_KUBE_API": self.plane.address,
            "JOULEGATE_KUBE_CA_FILE": authority,
            "JOULEGATE_KUBE_CERTIFICATE_FILE": str(self.kube.certificate),
            "JOULEGATE_KUBE_KEY_FILE": str(self.kube.key),
            "JOULEGATE_ADMISSION_PORT": str(self.port),
            "JOULEGATE_ADMISSION_CERTIFICATE_FILE": str(self.pair.certificate),
            "JOULEGATE_ADMISSION_KEY_FILE": str(self.pair.key),
            "JOULEGATE_ADMISSION_CLIENT_CA_FILE": authority,
            **({"JOULEGATE_DATABASE": self.database} if self.database else {}),
        }

    @property
    def client(self) -> Client:
        return Client.from_home({"JOULEGATE_HOME": str(self.home)})

    def start(self) -> None:
        # The port of the first start stays, as a service's does.
        port = self.client.address.rpartition(":")[2] if (self.home / "address").exists() else "0"
        command = [str(Path(sys.executable).parent / "joulegate"), "up", "--port", port]
        with (self.home / "api.log").open("ab") as log:
            self.process = subprocess.Popen(command, env=self.environment, stdout=log, stderr=log)
        eventually(self.answers, saying="the API is ready")

    def stop(self, how: signal.Signals = signal.SIGTERM) -> None:
        if self.process is not None:
            self.process.send_signal(how)
            self.process.wait(timeout=30)
            self.process = None

    def answers(self) -> bool:
        try:
            self.client.get("/v1/budgets")
            self.serial()
        except (UnavailableError, ApiError, OSError):
            return False
        return True

    def serial(self) -> str:
        """The number of the certificate that the port serves now."""
        context = ssl.create_default_context(cafile=str(Authority.load(self.plane.certificates).certificate))
        with (
            socket.create_connection(("127.0.0.1", self.port), 5) as plain,
            context.wrap_socket(plain, server_hostname="127.0.0.1") as secure,
        ):
            return str((secure.getpeercert() or {})["serialNumber"])

    def bind(self, name: str, namespace: str, kwh: str, **spec: Any) -> None:
        """A budget over one namespace."""
        fields = {"scope": {"namespaces": [namespace]}, "period": {"unit": "Year"}, "limits": {"energyKwh": kwh}}
        body = {"apiVersion": API_VERSION, "kind": "Budget", "metadata": {"name": name}, "spec": {**fields, **spec}}
        self.client.put(f"/v1/budgets/{name}", body)

    def pending(self, name: str) -> int:
        return int(self.client.get(f"/v1/budgets/{name}/balance")["energy"]["pending"])


@contextmanager
def admitting(
    plane: ControlPlane,
    api: Api,
    tools: Clients,
    home: Path,
    database: str | None = None,
    ports: tuple[int, int] | None = None,
) -> Iterator[Admitting]:
    """The process, its account with the chart's role and no more, and the chart's webhooks in force.

    `ports` are where it listens and where the webhooks call, when something stands between.
    """
    authority = Authority.load(plane.certificates)
    if ports is None:
        with socket.create_server(("127.0.0.1", 0)) as probe:
            ports = (int(probe.getsockname()[1]),) * 2
    port, front = ports
    made = Admitting(plane, home, port, plane.serving_pair("admission"), authority.client(ACCOUNT, ACCOUNT), database)
    settings = [
        "admission.install=true",
        f"admission.url=https://127.0.0.1:{front}",
        f"admission.caBundle={b64encode(authority.certificate.read_bytes()).decode()}",
        "operator.username=admin",
    ]
    objects = rendered(tools, *(word for setting in settings for word in ("--set", setting)))
    names = {ACCOUNT, "joulegate", "joulegate-namespaces", "queue-joulegate"}
    made.webhooks = [each for each in objects if each["metadata"]["name"] in names]
    made.start()
    try:
        for source in (*made.webhooks, bound(ACCOUNT, ACCOUNT)):
            api.apply(source)
        yield made
    finally:
        for source in made.webhooks:
            if source["apiVersion"] == REGISTRATION:
                api.delete(source)
        made.stop()


def may(person: Api, source: Object) -> bool:
    """Whether a creation would be let in, by a dry run."""
    try:
        person.create(source, dryRun="All")
    except RefusedError:
        return False
    return True
