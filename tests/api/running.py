"""A service for tests: the real application on a real database, principals of every role, and example bodies."""

from __future__ import annotations

import json
import socket
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx2
import uvicorn
from fastapi import FastAPI
from sqlalchemy import inspect, text
from starlette.testclient import TestClient

from joulegate.tokens import EVERYTHING, Grant, Role, TokenRow, format_row, hash_of
from joulegate_api.app import create_app
from joulegate_api.context import Context
from joulegate_api.settings import Settings, load
from joulegate_api.store import Store

HOST = "http://127.0.0.1"


class Service:
    """The application behind a test client; calls are made as ``admin`` unless another principal is named."""

    def __init__(self, store: Store, folder: Path, **settings: Any) -> None:
        rows = [principal(role.value, role) for role in Role]
        rows.append(principal("vision-member", Role.MEMBER, Grant("vision")))
        rows.append(principal("vision-reader", Role.READER, Grant("vision")))
        (folder / "tokens").write_text("".join(format_row(row) + "\n" for row in rows))
        self.settings: Settings = load({"home": folder, **settings})
        self.store = store
        self.app: FastAPI = create_app(self.settings, store)
        self.context: Context = self.app.state.context
        self.client = TestClient(self.app, base_url=HOST, raise_server_exceptions=False)

    def call(
        self, method: str, path: str, body: object = None, *, by: str | None = "admin", **more: Any
    ) -> httpx2.Response:
        """Call a route; a body that is bytes goes as it is."""
        headers = {"Content-Type": "application/json"} if body is not None else {}
        if by is not None:
            headers["Authorization"] = f"Bearer {token_of(by)}"
        content = body if body is None or isinstance(body, bytes) else json.dumps(body).encode()
        headers |= more.pop("headers", {})
        response: httpx2.Response = self.client.request(method, path, content=content, headers=headers, **more)
        return response

    def get(self, path: str, **more: Any) -> httpx2.Response:
        return self.call("GET", path, **more)

    def post(self, path: str, body: object, **more: Any) -> httpx2.Response:
        return self.call("POST", path, body, **more)

    def put(self, path: str, body: object, **more: Any) -> httpx2.Response:
        return self.call("PUT", path, body, **more)

    def fingerprint(self) -> dict[str, int | str]:
        """Rows of every table, and the balances: the same before and after means that nothing was kept."""
        with self.store._database.read() as connection:
            counts: dict[str, int | str] = {
                name: int(connection.execute(text(f"SELECT count(*) FROM {name}")).scalar_one())  # noqa: S608 -- names of tables
                for name in inspect(connection).get_table_names()
            }
            columns = "posted_mj, pending_mj, posted_ug, pending_ug, posted_micros, pending_micros"
            rows = connection.execute(text(f"SELECT budget, {columns} FROM balances ORDER BY 1, 2"))  # noqa: S608 -- as above
            counts["of balances"] = repr(rows.all())
        counts.pop("balances")  # an empty row may be made for a decision that writes nothing else
        return counts


def token_of(name: str) -> str:
    return f"token-of-{name}"


def principal(name: str, role: Role, grant: Grant = EVERYTHING) -> TokenRow:
    return TokenRow(hash_of(token_of(name)), name, frozenset({role}), (grant,))


@contextmanager
def over_http(app: FastAPI) -> Iterator[str]:
    """The application behind a real server; the address, until the block ends."""
    with socket.create_server(("127.0.0.1", 0), backlog=2_048) as listener:
        server = uvicorn.Server(uvicorn.Config(app, http="httptools", log_config=None, access_log=False))
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
        thread.start()
        try:
            while not server.started:
                assert thread.is_alive()
                time.sleep(0.01)
            yield f"http://127.0.0.1:{listener.getsockname()[1]}"
        finally:
            server.should_exit = True
            thread.join()


def budget(name: str = "vision", **spec: Any) -> dict[str, Any]:
    """A budget object over the namespace ``vision``."""
    fields = {"scope": {"namespaces": ["vision"]}, "period": {"unit": "Year"}, "limits": {"energyKwh": "10"}}
    return {
        "apiVersion": "joulegate.io/v1alpha1",
        "kind": "Budget",
        "metadata": {"name": name},
        "spec": fields | spec,
    }


def record(record_id: str = "r1", **more: Any) -> dict[str, Any]:
    """A record of one board over five minutes."""
    interval = {
        "start": "2026-11-20T08:00:00Z",
        "end": "2026-11-20T08:05:00Z",
        "energy_mj": "60000000",
        "method": "nvml_counter",
        "boundary": "accelerator",
        "coverage": 1.0,
    }
    body = {
        "record_id": record_id,
        "run": {"uid": f"run-{record_id}", "namespace": "vision"},
        "kind": "training",
        "model": "resnet",
        "started_at": "2026-11-20T08:00:00Z",
        "ended_at": "2026-11-20T08:05:00Z",
        "outcome": "succeeded",
        "devices": [{"uuid": "GPU-1", "model": "NVIDIA A100-SXM4-80GB", "intervals": [interval]}],
        "host": {"energy_mj": None, "method": "not_measured"},
        "source": "nvml",
        "software": "joulegate test",
    }
    return body | more


REFERENCE = {
    "dataset": "grid",
    "version": "2026-1",
    "publisher": "An Office",
    "licence": "CC-BY-4.0",
    "source": "https://example.org",
}
VALID = {"valid_from": "2020-01-01T00:00:00Z", "valid_to": "9999-12-31T00:00:00Z", "reference": REFERENCE}
FACTORS = {
    "rows": [
        {
            "zone": "DE",
            "ug_per_kwh": "400000000",
            "basis": "location",
            "boundary": "direct",
            "mix": "production",
            "signal": "average",
            "gwp": "AR5",
            **VALID,
        }
    ]
}
PRICES = {"rows": [{"rule": "electricity", "currency": "EUR", "micros_per_unit": "200000", **VALID}]}
SITES = {"rows": [{"name": "default", "zone": "DE", "pue_ppm": 1_200_000, "pue_category": "declared", **VALID}]}


def priced(service: Service) -> None:
    """Give a service the rates of its site."""
    for kind, body in (("factors", FACTORS), ("prices", PRICES), ("sites", SITES)):
        assert service.put(f"/v1/{kind}", body).status_code == 201


def job(
    gpus: object = 1,
    duration: str | None = "1h",
    uid: str | None = "uid-1",
    name: str = "train",
    namespace: str = "vision",
    **spec: Any,
) -> dict[str, Any]:
    """A Job of A100 boards."""
    annotations = {"joulegate.io/model": "resnet"}
    if duration is not None:
        annotations["joulegate.io/expected-duration"] = duration
    container = {"name": "main", "image": "train", "resources": {"limits": {"nvidia.com/gpu": gpus}}}
    pod = {"nodeSelector": {"nvidia.com/gpu.product": "NVIDIA-A100-SXM4-80GB"}, "containers": [container]}
    metadata = {"name": name, "namespace": namespace, "annotations": annotations}
    return {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": metadata | ({"uid": uid} if uid else {}),
        "spec": {"template": {"spec": pod}, **spec},
    }


def review(of: Mapping[str, Any] | None, uid: str = "review-1", **request: Any) -> dict[str, Any]:
    """An AdmissionReview for the creation of an object."""
    fields = {
        "uid": uid,
        "kind": {"group": "batch", "version": "v1", "kind": "Job"},
        "resource": {"group": "batch", "version": "v1", "resource": "jobs"},
        "operation": "CREATE",
        "namespace": "vision",
        "userInfo": {"username": "alice", "groups": ["authors"]},
        "object": of,
        "oldObject": None,
        "dryRun": False,
        "options": {"kind": "CreateOptions"},
    }
    return {"apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview", "request": fields | request}


def verdict_of(response: httpx2.Response) -> dict[str, Any]:
    """The verdict inside an answered review."""
    assert response.status_code == 200, response.text
    verdict: dict[str, Any] = json.loads(response.json()["response"]["auditAnnotations"]["verdict"])
    return verdict
