"""The demo: one pipeline, measured, priced, held to its budget, refused, compared and reported.

    make demo                                   # everything, in about a minute
    .venv/bin/python docs/demo/run.py --keep    # the same, and the dashboard stays open

Needs no GPU and no cluster. Everything that it writes is in a new folder below demo-out/.
"""

import argparse
import csv
import json
import os
import re
import shlex
import signal
import subprocess
import sys
import time
from collections import deque
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final

import yaml

from joulegate.client import Client
from joulegate.core.errors import JoulegateError
from joulegate.gpu import open_reader

ROOT: Final = Path(__file__).parents[2]
HERE: Final = Path(__file__).parent
COMMANDS: Final = ROOT / ".venv/bin"
KFP_PYTHON: Final = ROOT / ".venv-kfp/bin/python"
VARIANTS: Final = ("original", "distilled", "sparse", "quantised")
FIGURES: Final = ("energy_mj", "carbon_location_ug", "cost_micros")
STAGES: Final = 8
START_S: Final = 60

TERMINAL: Final = sys.stdout.isatty()


class Failed(Exception):  # noqa: N818 -- what happened, said to a person
    """A step of the demo did not do what it should have done; the message says which."""


class Demo:
    """One run of the demo in a folder of its own."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.home = folder / "home"
        self.stage = 0
        self.begun = datetime.now(UTC)
        self.environment = {name: value for name, value in os.environ.items() if not name.startswith("JOULEGATE_")}
        self.environment["JOULEGATE_HOME"] = str(self.home)
        # One thread each, so that the variants compete on the same terms on any machine.
        self.environment |= dict.fromkeys(("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS"), "1")

    def title(self, text: str) -> None:
        """Begin a stage."""
        self.stage += 1
        line = f"[{self.stage}/{STAGES}] {text}"
        print(f"\n\033[1m{line}\033[0m" if TERMINAL and "NO_COLOR" not in os.environ else f"\n{line}", flush=True)

    def joulegate(self, *words: str, expected: int = 0) -> str:
        """Run a command of Joulegate as a person would, and show both the command and what it says."""
        print(f"  $ joulegate {shlex.join(words)}", flush=True)
        done = subprocess.run(
            [COMMANDS / "joulegate", *words],
            env=self.environment | {"COLUMNS": "200"},
            cwd=ROOT,
            check=False,
            text=True,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
        )
        for line in done.stdout.splitlines():
            print(f"    {line}".rstrip(), flush=True)
        if done.returncode != expected:
            raise Failed(f"joulegate {words[0]} ended with {done.returncode} instead of {expected}")
        return done.stdout

    def client(self) -> Client:
        """The API of this demo."""
        return Client.from_home(self.environment)

    def choose_power(self) -> None:
        """NVML where there is a GPU; else a recording, by name."""
        try:
            with open_reader() as reader:
                models = ", ".join(device.model for device in reader.devices())
        except JoulegateError as error:
            self.environment["JOULEGATE_REPLAY"] = "a100_square"
            print(f"No GPU can be read here ({error}).")
            print(
                "The recorded power of a real A100 is replayed instead, and every figure made from it says `replayed`."
            )
            print("A recording does not feel the load: energy goes with the time that work takes.")
        else:
            print(f"Power is measured on {models}, which idles: the demo computes on the processor, with numpy.")


def started(demo: Demo) -> subprocess.Popen[bytes]:
    """`joulegate up` in the background, ready to be asked."""
    demo.title("Start Joulegate: API, dashboard and admission in one process, on an SQLite file")
    print("  $ joulegate up --port 0 &", flush=True)
    log = demo.folder / "joulegate.log"
    with log.open("wb") as output:
        server = subprocess.Popen(
            [COMMANDS / "joulegate", "up", "--port", "0"],
            env=demo.environment,
            cwd=ROOT,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,  # Ctrl-C ends the demo, and the demo ends the server
        )
    deadline = time.monotonic() + START_S
    while time.monotonic() < deadline and server.poll() is None:
        try:
            demo.client().read("/readyz")
        except JoulegateError:
            time.sleep(0.1)
        else:
            print(f"    listens on {demo.client().address}; log in {shown(log)}")
            return server
    stop(server)
    raise Failed(f"joulegate up did not start:\n{log.read_text(errors='replace')}")


def stop(server: subprocess.Popen[bytes]) -> None:
    """End the server as a person would, and wait for it."""
    if server.poll() is None:
        server.send_signal(signal.SIGINT)
        try:
            server.wait(timeout=20)
        except subprocess.TimeoutExpired:
            server.kill()
            server.wait()


def configured(demo: Demo) -> None:
    """The budget, and what prices energy: nothing is priced without a source."""
    demo.title("Apply a budget in three units, and the dated, sourced rows that price energy")
    demo.joulegate("budget", "apply", "-f", shown(HERE / "budget.yaml"))
    for kind in ("factors", "prices", "sites"):
        demo.joulegate(kind, "import", shown(HERE / f"{kind}.yaml"))
        demo.joulegate(kind, "list")


def pipeline_run(demo: Demo) -> None:
    """The pipeline, each of its steps a process that Joulegate measures."""
    demo.title("Run a Kubeflow pipeline: train, distil, prune, quantise, evaluate on held-out digits")
    log = demo.folder / "pipeline.log"
    command: list[str | Path] = [KFP_PYTHON, HERE / "pipeline.py", "run", demo.folder / "pipeline"]
    recent: deque[str] = deque(maxlen=12)
    failure = ""
    print(f"  $ .venv-kfp/bin/python {shown(HERE / 'pipeline.py')} run {shown(demo.folder / 'pipeline')}")
    print(f"    KFP's own output: {shown(log)}", flush=True)
    with (
        log.open("w", encoding="utf-8") as kept,
        subprocess.Popen(
            command, env=demo.environment, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
        ) as process,
    ):
        for line in process.stdout or ():
            kept.write(line)
            kept.flush()
            progress(line)
            recent.append(line)
            if "ERROR" in line and not failure:
                failure = "".join(recent)
    if process.returncode != 0:
        raise Failed(f"the pipeline ended with {process.returncode}; all of its output is in {shown(log)}\n{failure}")


def progress(line: str) -> None:
    """Say which step runs (on a terminal) and what each has drawn."""
    plain = re.sub(r"\x1b\[[0-9;]*m", "", line)
    if (running := re.search(r"Executing task '(.+?)'", plain)) and TERMINAL:
        print(f"\r    {running[1]} ...\033[K", end="", flush=True)
    elif done := re.search(r"joulegate-run: (.+?): (.+?); record (\S+) (.+)", plain):
        fate = "" if done[4].startswith("sent") else f" [record {done[4]}]"
        drawn = done[2].replace(" (replayed: a recording, not a measurement of this machine)", ", replayed")
        start = "\r\033[K" if TERMINAL else ""
        print(f"{start}    {done[1]:<12} {drawn}{fate}", flush=True)


def compared(demo: Demo) -> None:
    """What was measured, and the four variants side by side."""
    demo.title("What each step drew, cost and emitted")
    demo.joulegate("records", "list", "--pipeline", "digits")
    demo.joulegate("budget", "balance", "digits-team")
    demo.title("Compare the variants: accuracy against energy and carbon per 1,000 predictions")
    picture = shown(demo.folder / "comparison.svg")
    demo.joulegate("compare", *VARIANTS, "--model", "digits-mlp", "--pipeline", "digits", "--svg", picture)
    print(f"    picture: {picture}")


def refused_and_allowed(demo: Demo) -> None:
    """The next run asks for admission, as a cluster's API server would ask for it."""
    demo.title("Ask for admission of the next run, a Kubernetes Job (AdmissionReview v1)")
    print("  8 GPUs for 12 hours, as an API server would ask and kubectl would show:")
    manifest = yaml.safe_load((HERE / "job.yaml").read_text(encoding="utf-8"))
    uid = "00000000-0000-4000-8000-000000000001"
    request = {
        "uid": uid,
        "kind": {"group": "batch", "version": "v1", "kind": "Job"},
        "resource": {"group": "batch", "version": "v1", "resource": "jobs"},
        "name": manifest["metadata"]["name"],
        "namespace": manifest["metadata"]["namespace"],
        "operation": "CREATE",
        "userInfo": {"username": "demo"},
        "object": manifest,
        "dryRun": True,
    }
    review = {"apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview", "request": request}
    answer = demo.client().post("/v1/admission/validate", review)["response"]
    print(f"    {answer['status']['code']} {answer['status']['message']}")
    if answer["uid"] != uid or answer["allowed"]:
        raise Failed("the large Job was not refused")
    demo.joulegate("admit", "-f", shown(HERE / "job.yaml"), expected=3)
    print("  1 GPU for 4 hours:")
    demo.joulegate("admit", "-f", shown(HERE / "smaller-job.yaml"))
    demo.joulegate("budget", "balance", "digits-team")


def reported(demo: Demo) -> Path:
    """A report of the demo's days, added up again here from the records, its CSV and what the budget was charged."""
    demo.title("Report the period, and add it up again")
    folder = demo.folder / "report"
    first, last = demo.begun.date(), (datetime.now(UTC) + timedelta(days=1)).date()
    demo.joulegate("report", "create", "--from", str(first), "--to", str(last), "--out", shown(folder))
    document, table, page = (folder / f"report-{first}-to-{last}.{ending}" for ending in ("json", "csv", "html"))
    with table.open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    totals = json.loads(document.read_text(encoding="utf-8"))["totals"]
    balance = demo.client().get("/v1/budgets/digits-team/balance")
    posted = {name: balance[unit]["posted"] for name, unit in zip(FIGURES, ("energy", "carbon", "cost"), strict=True)}
    sums = {
        "records": added([record["footprint"] for record in records(demo.client())]),
        "report, CSV": added(rows),
        "report, JSON": added([{**total, "cost_micros": total["costs"][0]["micros"]} for total in totals]),
        "budget, posted": added([posted]),
    }
    for name, (energy, carbon, cost) in sums.items():
        print(f"    {name:<16}{energy:>14,} mJ {carbon:>12,} ug CO2e {cost:>8,} micros EUR")
    if len(set(sums.values())) != 1:
        raise Failed("the report does not add up")
    print("    equal, to the last unit")
    return page


def records(client: Client) -> Iterator[dict[str, Any]]:
    """Every record that the API has."""
    cursor = ""
    while cursor is not None:
        page = client.get(f"/v1/records?limit=100{cursor and f'&cursor={cursor}'}")
        yield from page["records"]
        cursor = page["cursor"]


def added(rows: list[dict[str, Any]]) -> tuple[int, ...]:
    """Energy, carbon and cost of the rows in base units; every part of this demo is known, so none may be missing."""
    return tuple(sum(int(row[name]) for row in rows) for name in FIGURES)


def summary(demo: Demo, report: Path) -> None:
    """What there is now, and how to go on."""
    demo.title("Done")
    home = shown(demo.home)
    again = f"JOULEGATE_HOME={home} .venv/bin/joulegate up"
    print(f"  report      {shown(report)}")
    print(f"  pipeline    {shown(demo.folder / 'pipeline.log')}")
    print(f"  comparison  {shown(demo.folder / 'comparison.svg')}")
    print(f"  dashboard   {demo.client().address}/")
    print(f"  how to go on\n    {again}")
    print("        shows the dashboard again: it prints a link that opens it")
    print(f"    JOULEGATE_HOME={home} .venv/bin/joulegate records list")
    print("        and every other command, while it runs")
    print("    joulegate-run -- python train.py")
    print("        measures a command of yours; docs/demo/pipeline.py shows how to measure a pipeline's steps")


def shown(path: Path) -> str:
    """A path as short as it goes from where the commands run."""
    return str(path.relative_to(ROOT) if path.is_relative_to(ROOT) else path)


def new_folder() -> Path:
    """A folder for this run alone, with `latest` beside it."""
    out = ROOT / "demo-out"
    out.mkdir(exist_ok=True)
    for number in range(1, 1_000):
        folder = out / f"{datetime.now(UTC):%Y-%m-%d}-{number}"
        try:
            folder.mkdir()
        except FileExistsError:
            continue
        return folder
    raise Failed(f"{shown(out)} is full: remove it")


def main() -> int:
    """Run every stage; 0 when each did what it should."""
    parser = argparse.ArgumentParser(description="Joulegate's demo.")
    parser.add_argument("--keep", action="store_true", help="keep the dashboard open at the end, until Ctrl-C")
    keep = parser.parse_args().keep
    begun = time.monotonic()
    server = None
    try:
        demo = Demo(new_folder())
        demo.choose_power()
        server = started(demo)
        configured(demo)
        pipeline_run(demo)
        compared(demo)
        refused_and_allowed(demo)
        report = reported(demo)
        summary(demo, report)
        print(f"\n  {time.monotonic() - begun:.0f} s in all")
        if keep:
            link = re.search(r"http\S+", (demo.folder / "joulegate.log").read_text().partition("dashboard")[2])
            print(
                f"\n  The dashboard is open: {link[0] if link else demo.client().address}\n  Ctrl-C ends it.",
                flush=True,
            )
            server.wait()
    except Failed as failure:
        print(f"\ndemo: {failure}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print()
        return 0 if keep else 130
    finally:
        if server is not None:
            stop(server)
    return 0


if __name__ == "__main__":
    sys.exit(main())
