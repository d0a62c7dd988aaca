"""Admission's own port: real TLS, who is believed, certificates that change while it serves, hostile bodies."""

from __future__ import annotations

import json
import socket
import ssl
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx2
import pytest

from joulegate.core.errors import JoulegateError
from joulegate_api.context import Context
from joulegate_api.listener import Certificates, listening
from joulegate_api.server import listen
from joulegate_api.settings import load
from joulegate_api.store import Store
from tests.api.running import Service, budget, job, review, token_of, verdict_of
from tests.cluster.certificates import Authority, KeyPair


@dataclass
class Port:
    """A listener that runs, and what its clients need."""

    address: str
    authority: Authority
    pair: KeyPair
    service: Service

    def client(self, certificate: KeyPair | None = None) -> httpx2.Client:
        context = ssl.create_default_context(cafile=str(self.authority.certificate))
        if certificate is not None:
            context.load_cert_chain(certificate.certificate, certificate.key)
        return httpx2.Client(base_url=self.address, verify=context, trust_env=False, timeout=20)

    def ask(self, body: object, certificate: KeyPair | None = None, token: str | None = None) -> httpx2.Response:
        headers = {"Content-Type": "application/json"} | ({"Authorization": f"Bearer {token}"} if token else {})
        with self.client(certificate) as client:
            content = body if isinstance(body, bytes) else json.dumps(body).encode()
            return client.post("/v1/admission/validate?timeout=3s", content=content, headers=headers)


@contextmanager
def serving(store: Store, folder: Path, **settings: Any) -> Iterator[Port]:
    authority = Authority.create(folder / "pki")
    pair = authority.server("admission", ["127.0.0.1"])
    service = Service(
        store,
        folder,
        admission_port=0,
        admission_certificate_file=pair.certificate,
        admission_key_file=pair.key,
        admission_client_ca_file=authority.certificate,
        **settings,
    )
    assert service.put("/v1/budgets/vision", budget()).status_code == 201
    context: Context = service.context
    with listening(context, listen) as address:
        assert address is not None
        yield Port(address, authority, pair, service)


@pytest.fixture(scope="module")
def port(tmp_path_factory: pytest.TempPathFactory, sqlite_template: Path) -> Iterator[Port]:
    folder = tmp_path_factory.mktemp("listener")
    database = folder / "joulegate.db"
    database.write_bytes(sqlite_template.read_bytes())
    store = Store.open(f"sqlite:///{database}")
    with serving(store, folder) as found:
        yield found
    store.close()


def named(name: str, **more: Any) -> dict[str, Any]:
    return job(name=name, uid=f"uid-of-{name}", **more)


def test_a_review_is_answered_with_a_review(port: Port) -> None:
    answer = port.ask(review(named("small", duration="10m")))
    assert answer.status_code == 200, answer.text
    assert answer.json()["response"]["uid"] == "review-1"
    assert verdict_of(answer)["allowed"]


def test_who_proved_nothing_may_hold_a_share_and_no_more(port: Port) -> None:
    """10 kWh in all; 20 % of it are 5 board-hours of 400 W."""
    large = named("large", gpus=8, duration="1h")
    refused = verdict_of(port.ask(review(large)))
    assert (refused["allowed"], refused["reason"]) == (False, "Undecidable")
    assert "callers without a certificate or a token may hold 20 % of budget vision" in refused["message"]
    assert verdict_of(port.ask(review(large, dryRun=True), token=token_of("operator")))["allowed"]
    server = port.authority.client("server", "kube-apiserver")
    assert verdict_of(port.ask(review(large, dryRun=True), server))["allowed"]
    another = port.authority.client("mallory", "mallory")
    assert not verdict_of(port.ask(review(large, dryRun=True), another))["allowed"]


def test_a_token_that_is_wrong_is_refused_rather_than_taken_for_none(port: Port) -> None:
    assert port.ask(review(named("x")), token="wrong").status_code == 401
    assert port.ask(review(named("x")), token=token_of("reader")).status_code == 403


def test_a_certificate_of_another_authority_is_not_even_heard(port: Port, tmp_path: Path) -> None:
    stranger = Authority.create(tmp_path / "other").client("server", "kube-apiserver")
    with pytest.raises(httpx2.HTTPError):
        port.ask(review(named("x")), stranger)


def test_versions_before_tls_1_2_are_refused_and_nothing_is_spoken_in_the_clear(port: Port) -> None:
    old = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    old.check_hostname, old.verify_mode = False, ssl.CERT_NONE
    with pytest.warns(DeprecationWarning, match="TLSv1_1"):
        old.minimum_version = old.maximum_version = ssl.TLSVersion.TLSv1_1
    host = ("127.0.0.1", int(port.address.rpartition(":")[2]))
    with socket.create_connection(host, 5) as plain, pytest.raises(ssl.SSLError):
        old.wrap_socket(plain)
    with httpx2.Client(trust_env=False) as client, pytest.raises(httpx2.HTTPError):
        client.get(port.address.replace("https", "http") + "/healthz")


@pytest.mark.parametrize(
    ("body", "status"),
    [
        (b"", 400),
        (b"{", 400),
        (b"[" * 100_000, 400),
        (b'{"request": {}}', 400),
        (b"x" * (8 * 1024 * 1024 + 1), 413),
    ],
    ids=["nothing", "half", "deep", "no uid", "too large"],
)
def test_a_body_that_nobody_can_answer_is_refused(port: Port, body: bytes, status: int) -> None:
    assert port.ask(body).status_code == status


@pytest.mark.parametrize(
    "spoil",
    [
        lambda text: text.replace('"operation"', '"operation": "CREATE", "operation"', 1),
        lambda text: text.replace('"dryRun": false', '"dryRun": NaN', 1),
        lambda text: text.replace('"spec": {', '"spec": {"x": ' + "[" * 80 + "]" * 80 + ", ", 1),
        lambda text: text.replace('"nvidia.com/gpu": 1', '"nvidia.com/gpu": 1e999', 1),
    ],
    ids=["a key twice", "not a number", "too deep", "beyond every number"],
)
def test_a_review_that_cannot_be_believed_is_answered_undecidable(port: Port, spoil: Callable[[str], str]) -> None:
    whole = json.dumps(review(named("hostile")))
    spoiled = spoil(whole)
    assert spoiled != whole
    assert verdict_of(port.ask(spoiled.encode()))["reason"] == "Undecidable"


def test_only_admission_is_there(port: Port) -> None:
    with port.client() as client:
        assert client.get("/healthz").status_code == 200
        for path in ("/v1/budgets", "/metrics", "/v1/admission/preview", "/"):
            assert client.post(path, content=b"{}").status_code in (404, 405), path


def test_decisions_are_counted_with_their_time(port: Port) -> None:
    def counted() -> tuple[int, int]:
        lines = port.service.get("/metrics").text.splitlines()
        decided = 'joulegate_admission_decisions_total{outcome="allow",reason="NoAccelerator"}'
        found = [int(line.rpartition(" ")[2]) for line in lines if line.startswith(decided)]
        (timed,) = [int(line.rpartition(" ")[2]) for line in lines if "duration_seconds_count" in line]
        return (found or [0])[0], timed

    before = counted()
    port.ask(review(named("none", gpus=0)))
    assert counted() == (before[0] + 1, before[1] + 1)


def served_number(port: Port) -> int:
    context = ssl.create_default_context(cafile=str(port.authority.certificate))
    host = ("127.0.0.1", int(port.address.rpartition(":")[2]))
    with socket.create_connection(host, 5) as plain, context.wrap_socket(plain, server_hostname="127.0.0.1") as secure:
        certificate = secure.getpeercert()
        assert certificate is not None
        return int(str(certificate["serialNumber"]), 16)


@pytest.mark.slow
def test_a_new_certificate_is_served_without_a_restart_and_connections_go_on(port: Port) -> None:
    before = served_number(port)
    with port.client() as kept:
        assert kept.get("/healthz").status_code == 200
        port.pair.key.write_text("half of a key")  # what is being replaced fits nothing: the last good pair goes on
        time.sleep(1.5)
        assert served_number(port) == before
        port.authority.server("admission", ["127.0.0.1"])
        end = time.monotonic() + 10
        while served_number(port) == before:
            assert time.monotonic() < end, "the new certificate is served"
            time.sleep(0.1)
        assert kept.get("/healthz").status_code == 200


def test_a_listener_without_a_usable_certificate_says_so(tmp_path: Path) -> None:
    with pytest.raises(JoulegateError, match="JOULEGATE_ADMISSION_CERTIFICATE_FILE is needed"):
        Certificates(load({"home": tmp_path, "admission_port": 0}))
    missing = load({"home": tmp_path, "admission_port": 0, "admission_certificate_file": tmp_path / "none"})
    with pytest.raises(JoulegateError, match="cannot read"):
        Certificates(missing)
    (tmp_path / "bad").write_text("no certificate")
    bad = load({"home": tmp_path, "admission_port": 0, "admission_certificate_file": tmp_path / "bad"})
    with pytest.raises(JoulegateError, match="cannot use the certificate"):
        Certificates(bad)


def test_without_a_port_there_is_no_listener(tmp_path: Path, sqlite_url: str) -> None:
    store = Store.open(sqlite_url)
    with listening(Service(store, tmp_path).context, listen) as address:
        assert address is None
    store.close()
