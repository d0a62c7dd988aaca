"""What becomes of a record at the end of a run: it is kept on disk, then sent, within seconds."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Mapping
from typing import Any, Final

from joulegate.client import Client
from joulegate.core.errors import JoulegateError
from joulegate.core.records import EfficiencyRecord
from joulegate.home import home
from joulegate.spool import Flushed, Spool
from joulegate.wire import record_body

DELIVERY_S: Final = 3.0
"""How long the end of a run may wait for the API, all in all."""


def deliver(record: EfficiencyRecord, environment: Mapping[str, str], within_s: float = DELIVERY_S) -> str:
    """Keep the record, then send it and what waits; says in one sentence what became of it.

    Takes about ``within_s`` seconds at most, even where a name is looked up in
    vain. Only a record that can neither be kept nor sent is in the sentence
    itself, so that it is in the log of the run.
    """
    body = record_body(record)
    name = f"record {record.record_id}"
    try:
        spool = Spool(home(environment) / "spool")
        spool.put(body)
    except JoulegateError as error:
        return _deliver_unkept(body, environment, within_s, str(error))
    try:
        client = Client.from_home(environment, timeout_s=within_s, retry_s=within_s)
    except JoulegateError as error:
        return f"{name} waits in {spool.folder} ({error})"
    done = _in_time(lambda: spool.flush(client, within_s=within_s, first=record.record_id), within_s)
    if record.record_id in done.delivered:
        others = f", and {len(done.delivered) - 1} that had waited" if len(done.delivered) > 1 else ""
        return f"{name} sent{others}"
    if record.record_id in done.quarantined:
        return f"{name} refused and kept in {spool.quarantine} ({done.error})"
    return f"{name} waits in {spool.folder} ({done.error or 'another process is sending'})"


def _deliver_unkept(body: dict[str, Any], environment: Mapping[str, str], within_s: float, reason: str) -> str:
    try:
        client = Client.from_home(environment, timeout_s=within_s, retry_s=within_s)
        client.post("/v1/records", body, repeatable=True)
    except JoulegateError as error:
        return f"record not kept ({reason}) and not sent ({error}): {json.dumps(body, separators=(',', ':'))}"
    return f"record {body['record_id']} sent"


def _in_time(flush: Callable[[], Flushed], within_s: float) -> Flushed:
    done: list[Flushed] = []
    failed: list[str] = []

    def run() -> None:
        try:
            done.append(flush())
        except JoulegateError as error:
            failed.append(str(error))

    # A look-up of a name has no timeout of its own; the thread is left behind, and the record is on disk.
    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    thread.join(within_s + 1)
    return done[0] if done else Flushed(error=failed[0] if failed else "no answer in time")
