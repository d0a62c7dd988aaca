"""Every format says the same, is the same bytes when made again, and holds any name as text."""

import io
import json
import re
import zipfile
from functools import cache

import pytest
from openpyxl import load_workbook
from pypdf import PdfReader

from joulegate_api.reports import FORMATS, pdf, sections, workbook
from joulegate_api.reports.sections import STATEMENT
from tests.api.reports import reported

WHOLE = reported.whole()
EVERY = list(FORMATS)


@cache
def whole_text() -> str:
    """What the PDF of the whole report says, without the room that lets long words break."""
    return pdf_text(FORMATS["pdf"].render(WHOLE)).replace("\u200b", "")


def pdf_text(data: bytes) -> str:
    return "\n".join(page.extract_text() for page in PdfReader(io.BytesIO(data)).pages)


@pytest.mark.parametrize("name", EVERY)
def test_a_format_is_byte_identical_when_made_again(name: str) -> None:
    assert FORMATS[name].render(WHOLE) == FORMATS[name].render(reported.whole())


@pytest.mark.parametrize("name", EVERY)
@pytest.mark.parametrize(
    "place", [pytest.param(at, marks=[] if at in (0, 5, 11) else [pytest.mark.slow]) for at in range(12)]
)
def test_a_hostile_name_in_every_field_is_text_in_every_format(name: str, place: int) -> None:
    hostile = reported.hostile(reported.HOSTILE[place])
    data = FORMATS[name].render(hostile)
    if name == "pdf":
        found = PdfReader(io.BytesIO(data))
        assert 1 <= len(found.pages) < 40
        assert b"/JavaScript" not in data
        assert b"/URI" not in data
    elif name == "xlsx":
        book = load_workbook(io.BytesIO(data))
        cells = [cell for sheet in book for row in sheet.iter_rows() for cell in row]
        assert not [cell.coordinate for cell in cells if cell.data_type == "f"]
        texts = [cell.value for cell in cells if isinstance(cell.value, str)]
        assert not [text for text in texts if text[:1] in ("=", "+", "@", "\t", "\r")]
        assert all(len(text) <= workbook.LONGEST for text in texts)
    else:
        data.decode("utf-8")
        if name == "html":
            assert b"<script" not in data
            assert b"<img" not in data
        elif FORMATS[name].media_type.startswith("application/") and "json" in FORMATS[name].media_type:
            json.loads(data)


def test_the_workbook_has_a_sheet_for_each_table_and_no_clock_of_this_machine() -> None:
    data = FORMATS["xlsx"].render(WHOLE)
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        assert {info.date_time[0] for info in archive.infolist()} == {1980}
        assert b"2026-11-23T23:00:00Z" in archive.read("docProps/core.xml")
    book = load_workbook(io.BytesIO(data))
    assert [sheet["A1"].value for sheet in book][:-1] == [part.title for part in sections.sections(WHOLE)]


def test_the_workbook_has_base_units_beside_the_units_of_people() -> None:
    book = load_workbook(io.BytesIO(FORMATS["xlsx"].render(reported.golden())))
    sheet = book["Totals"]
    header = [cell.value for cell in sheet[4]]
    row = dict(zip(header, [cell.value for cell in sheet[5]], strict=True))
    assert (row["energy (kWh)"], row["energy (mJ)"]) == (3.5, 12_600_000_000)
    assert row["carbon, location-based (kg CO2e)"] == pytest.approx(1.95657)
    assert row["carbon, location-based (ug)"] == 1_956_570_000
    assert row["carbon, market-based (kg CO2e)"] == "no contract"
    assert row["device time (h)"] == 0.75
    raw = book["Runs, base units"]
    place = [cell.value for cell in raw[1]].index("energy_mj")
    assert sum(row[place].value for row in raw.iter_rows(min_row=2)) == 12_600_000_000


@pytest.mark.parametrize(
    "words",
    [
        "boundary", "accelerator", "method", "nvml_counter", "coverage", "80 %", "uncertainty", "1.70 to 2.08 kWh",
        "Measured and estimated", "GPU-hours", "expected", "missing", "Energy balance of each GPU", "4,000,000,000 mJ",
        "unattributed", "Corrections and estimates", "declared_twice", "Exceptions", "exception approved",
        "BudgetExhausted", "CC BY 4.0", "a publisher", "812", "ab" * 32, "non-inferior", "ember-countries-2023",
        "not measured", "Every total recomputes",
    ],
)  # fmt: skip
def test_the_pdf_prints_what_an_auditor_asks_for(words: str) -> None:
    text = whole_text()
    squeezed = re.sub(r"\s+", "", text)
    assert re.sub(r"\s+", "", words) in squeezed


def test_the_pdf_says_what_it_supplies_data_for_and_never_that_something_complies() -> None:
    text = re.sub(r"\s+", " ", whole_text())
    assert STATEMENT[:60] in text
    without = text.replace("does not say that anything complies", "")
    assert not re.search(r"complian|complies|certif", without)


@pytest.mark.slow
def test_the_pdf_counts_the_rows_that_it_leaves_out() -> None:
    many = reported.plain(*(reported.at_kwh(f"r{number}", "0.001") for number in range(pdf.MOST_ROWS + 3)))
    assert "3 more rows are not printed here" in pdf_text(FORMATS["pdf"].render(many))


def test_the_pdf_loads_no_font_of_this_machine() -> None:
    names = {
        str(font.get_object()["/BaseFont"]).partition("+")[2]
        for page in PdfReader(io.BytesIO(FORMATS["pdf"].render(WHOLE))).pages
        for font in page["/Resources"]["/Font"].values()  # type: ignore[index] # a dictionary of a page
    }
    assert names
    assert all(name.startswith(("LibertinusSerif", "DejaVuSansMono")) for name in names)


def test_the_page_has_every_table_of_the_report() -> None:
    page = FORMATS["html"].render(WHOLE).decode()
    parts = {"totals", "shares", "unpriced"}  # of the page's own sections
    for section in sections.sections(WHOLE):
        assert section.name in parts or f'<section id="{section.name}"' in page, section.title
    assert reported.TREE.root in page
    assert STATEMENT.split(".")[0] in page


def test_letters_that_the_fonts_of_the_pdf_lack_are_written_as_their_numbers() -> None:
    made = reported.plain(reported.at_kwh("\u6f22\u5b57-\U0001f680-caf\u00e9", "0.001"))
    text = pdf_text(FORMATS["pdf"].render(made)).replace("\u200b", "").replace("\n", "")
    assert "\\u{6f22}" in text
    assert "\\u{1f680}" in text
    assert "caf\u00e9" in text
