"""What an auditor asks of a report stands in every format; two are tables of runs only, which say less."""

import io
import re

import pytest
from openpyxl import load_workbook
from pypdf import PdfReader

from joulegate_api.reports import FORMATS
from tests.api.reports import reported

WHOLE = reported.whole()
ASKED = {
    "boundary": "accelerator",
    "method": "nvml_counter",
    "coverage": "of the devices|coverage_ppm",
    "uncertainty": r"at 0\.95|0\.95",
    "share measured and estimated": "measured",
    "energy balance of each GPU": "4,?000,?000,?000",
    "GPU-hours": "expected",
    "corrections": "declared_twice",
    "decisions": "BudgetExhausted",
    "exceptions": "exception.?approved",
    "licences of factors and prices": "CCBY4.0",
    "tree size": "812",
    "tree root": "ab" * 32,
}
TABLES_OF_RUNS = {"csv", "focus"}
"""Comma-separated rows of runs and charges have no place for a table of another kind: the JSON of the report has it."""
OF_RUNS = {"boundary", "method", "coverage"}


def words(name: str) -> str:
    data = FORMATS[name].render(WHOLE)
    if name == "pdf":
        text = "".join(page.extract_text() for page in PdfReader(io.BytesIO(data)).pages)
    elif name == "xlsx":
        book = load_workbook(io.BytesIO(data))
        text = " ".join(str(cell.value) for sheet in book for row in sheet.iter_rows() for cell in row)
    else:
        text = data.decode()
    return re.sub(r"[\s\u200b]", "", text)


@pytest.mark.parametrize("name", list(FORMATS))
def test_every_format_says_what_an_auditor_asks_for(name: str) -> None:
    text = words(name)
    asked = OF_RUNS if name in TABLES_OF_RUNS else set(ASKED)
    if name in TABLES_OF_RUNS:
        assert "coverage" in text.lower()
        asked = asked - {"coverage"}
    missing = [what for what in sorted(asked) if not re.search(ASKED[what].replace(" ", ""), text)]
    assert missing == []
