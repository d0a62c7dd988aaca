"""``joulegate admit`` and ``joulegate predict``: what a manifest would draw, and whether its budgets carry it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated, Any, Final
from uuid import uuid4

import typer

from joulegate.cli.output import Format, JsonOption, OutputOption, chosen, show_facts
from joulegate.core import display
from joulegate.core.budgets import SENTENCES, Reason
from joulegate.core.errors import InvalidInputError, UnavailableError
from joulegate.core.units import Unit

if TYPE_CHECKING:
    from joulegate.client import Client

REFUSED: Final = 3

ManifestOption = Annotated[
    str, typer.Option("--filename", "-f", help="A manifest as YAML or JSON with one object; - is stdin.")
]


def register(app: typer.Typer) -> None:
    """Add the commands."""
    app.command("admit")(admit)
    app.command("predict")(predict)


def admit(
    *,
    file: ManifestOption,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Decide and hold nothing.")] = False,
    user: Annotated[str | None, typer.Option(help="For whom; without it for the owner of the token.")] = None,
    output: OutputOption = Format.TABLE,
    as_json: JsonOption = False,
) -> None:
    """Decide on a manifest as the cluster would; exit code 0 allows, 3 refuses.

    Without --dry-run an allowance holds its amount in every budget that binds the work.
    """
    from joulegate.client import Client

    form = chosen(output, as_json)
    manifest = _manifest(file)
    client = Client.from_home()
    if dry_run and user is None:
        verdict = client.post("/v1/admission/preview", manifest, repeatable=True)
    else:
        verdict = _review(client, manifest, user, dry_run=dry_run)
    show_facts(verdict, _facts(verdict), form)
    if not verdict["allowed"]:
        raise typer.Exit(REFUSED)


def _manifest(file: str) -> dict[str, Any]:
    from joulegate.cli.documents import read_documents, shown_name

    documents = read_documents(file)
    if len(documents) != 1:
        count = "no object" if not documents else f"{len(documents)} objects"
        raise InvalidInputError(f"holds {count}; one is decided at a time", shown_name(file))
    (document,) = documents
    for path in ("apiVersion", "kind"):
        if not isinstance(document.value, dict) or not isinstance(document.value.get(path), str):
            raise InvalidInputError(f"{path}: is required; this is no manifest", document.place(path))
    manifest: dict[str, Any] = document.value
    return manifest


def _review(client: Client, manifest: Mapping[str, Any], user: str | None, *, dry_run: bool) -> dict[str, Any]:
    """Ask as an API server asks, with an AdmissionReview of version 1 for the creation of the object."""
    group, _, version = manifest["apiVersion"].rpartition("/")
    metadata = {"namespace": "default", **(manifest.get("metadata") or {})}
    metadata.setdefault("uid", str(uuid4()))
    kind = {"group": group, "version": version, "kind": manifest["kind"]}
    request = {
        "uid": str(uuid4()),
        "kind": kind,
        "resource": {"group": group, "version": version, "resource": f"{manifest['kind'].lower()}s"},
        "name": metadata.get("name", ""),
        "namespace": metadata["namespace"],
        "operation": "CREATE",
        "userInfo": {"username": user or ""},
        "object": {**manifest, "metadata": metadata},
        "dryRun": dry_run,
    }
    review = {"apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview", "request": request}
    response = client.post("/v1/admission/validate", review)["response"]
    written = (response.get("auditAnnotations") or {}).get("verdict")
    if written is None:
        raise UnavailableError(f"the answer holds no verdict: {json.dumps(response)[:200]}")
    verdict: dict[str, Any] = json.loads(written)
    return verdict


def _facts(verdict: Mapping[str, Any]) -> list[tuple[str, str]]:
    facts = [
        ("decision", f"{verdict['outcome']} ({'allowed' if verdict['allowed'] else 'refused'})"),
        ("reason", f"{verdict['reason']}: {SENTENCES[Reason(verdict['reason'])]}"),
    ]
    if verdict.get("budget"):
        facts.append(("budget", verdict["budget"]))
    if verdict.get("unit"):
        unit = Unit(verdict["unit"])
        for name in ("asked", "available") if verdict["allowed"] else ("asked", "available", "fits"):
            value = verdict.get(name)
            amount = display.amount(None if value is None else int(value), unit, verdict.get("currency"), "unknown")
            facts.append((name if name != "fits" else "would have fitted", amount))
    if verdict.get("basis"):
        facts.append(("estimate", f"basis {verdict['basis']}, {verdict.get('n') or 0} runs"))
    facts += [(name, str(verdict[name])) for name in ("hold", "detail", "as_of") if verdict.get(name)]
    return facts + [("warning", str(text)) for text in verdict.get("warnings") or ()]


def predict(
    *,
    file: ManifestOption,
    output: OutputOption = Format.TABLE,
    as_json: JsonOption = False,
) -> None:
    """Predict energy, carbon and money of a manifest, with the basis that the prediction stands on."""
    from joulegate.client import Client

    form = chosen(output, as_json)
    manifest = _manifest(file)
    found = Client.from_home().post("/v1/predictions", manifest, repeatable=True)
    show_facts(found, _predicted(found), form)


def _predicted(found: Mapping[str, Any]) -> list[tuple[str, str]]:
    rows = []
    for name, unit in (("energy", Unit.MJ), ("carbon", Unit.UG), ("cost", Unit.MICROS)):
        part = found.get(name) or {}
        for quantile in ("p50", "p90"):
            value = part.get(f"{quantile}_{unit.value}")
            text = display.amount(None if value is None else int(value), unit, part.get("currency"), display.NOT_PRICED)
            rows.append((f"{name} {quantile}", text))
    return [*rows, ("basis", f"{found['basis']}, {found['n']} runs"), ("detail", str(found.get("detail") or ""))]
