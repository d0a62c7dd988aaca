"""One of the processes that hammer the API: asks, repeats, confirms and releases, and writes down every answer.

`python -m tests.faults.sender PLAN`, where PLAN is a JSON file; one JSON line an answer in its `out`.
Uses what is installed in people's images: the standard library's client.
"""

from __future__ import annotations

import json
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import Any

from joulegate.client import Client
from joulegate.core.errors import JoulegateError

DEMAND = {
    "kind": "training",
    "groups": [{"accelerators": "1", "gpu_model": "NVIDIA A100-SXM4-80GB"}],
    "declared_ns": str(15 * 60 * 10**9),
}


@dataclass
class Sender:
    """`roots` are asked for, by `threads` at once; until `until_s` (0: only them) more roots of its own follow."""

    name: str
    addresses: list[str]
    token: str
    namespace: str
    roots: list[str]
    threads: int
    until_s: float
    ends: bool
    out: str
    patience_s: float = 60.0

    def run(self) -> None:
        begun = time.monotonic()
        with Path(self.out).open("a", encoding="utf-8") as out, ThreadPoolExecutor(self.threads) as pool:

            def work(root: str) -> None:
                for told in self.lead(root):
                    out.write(json.dumps(told) + "\n")
                    out.flush()

            list(pool.map(work, self.roots))
            number = 0
            while time.monotonic() - begun < self.until_s:
                list(pool.map(work, [f"{self.name}-{number + more}" for more in range(self.threads)]))
                number += self.threads

    def lead(self, root: str) -> list[dict[str, Any]]:
        """The life of one root; every answer."""
        chance = Random(root)  # noqa: S311 -- a test
        body = {"resource": "jobs", "namespace": self.namespace, "name": root, "demand": DEMAND}
        told = [self.ask(chance, root, "request", body)]
        if chance.random() < 0.3:
            told.append(self.ask(chance, root, "request", body))
        if told[0]["answer"]["allowed"] and self.ends:
            told.append(self.ask(chance, root, "confirm", {}))
            told.append(self.ask(chance, root, "release", {}))
            if chance.random() < 0.3:
                told.append(self.ask(chance, root, "release", {}))
        return told

    def ask(self, chance: Random, root: str, step: str, body: Any) -> dict[str, Any]:
        """Until there is an answer, of either process; a lost one is asked for again."""
        until = time.monotonic() + self.patience_s
        while True:
            client = Client(chance.choice(self.addresses), self.token, timeout_s=10, retry_s=0)
            try:
                answer = client.post(f"/v1/holds/{root}/{step}", body)
            except JoulegateError as error:
                if time.monotonic() > until:
                    raise
                last = str(error)
                time.sleep(0.05 + 0.1 * chance.random())
            else:
                return {"root": root, "step": step, "answer": answer, "lost": locals().get("last")}


if __name__ == "__main__":
    Sender(**json.loads(Path(sys.argv[1]).read_text(encoding="utf-8"))).run()
