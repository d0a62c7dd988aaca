"""`joulegate compare` holds variants against each other as table, JSON and picture."""

from pathlib import Path

from tests.api.running import Service, record
from tests.plugin.cli.conftest import Command


def test_variants_are_compared_as_table_json_and_picture(joulegate: Command, api: Service, tmp_path: Path) -> None:
    for name, variant, energy, accuracy in (("r1", "original", 5_000, 0.99), ("r2", "small", 500, 0.98)):
        work = {"name": "predict", "unit": "predictions", "amount": 1_000, "repeats": 1, "energy_mj": str(energy)}
        work |= {"start": "2026-11-20T08:00:00Z", "end": "2026-11-20T08:00:10Z"}
        quality = [{"name": "accuracy", "value": accuracy}]
        assert api.post("/v1/records", record(name, variant=variant, work=[work], quality=quality)).status_code == 201
    picture = tmp_path / "c.svg"
    done = joulegate("compare", "original", "small", "--svg", str(picture))
    assert done.code == 0
    assert "5 J" in done.out
    assert "0.500 J" in done.out or "0.5 J" in done.out
    assert picture.read_text().startswith("<svg ")
    found = joulegate("compare", "original", "small", "--json").json
    assert [row["energy_mj"] for row in found["variants"]] == ["5000", "500"]
    assert "svg" not in found
    assert joulegate("compare", "original", "nobody").code == 1
