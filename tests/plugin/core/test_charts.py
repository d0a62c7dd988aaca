"""Pictures are well-formed, say everything in text too, and no text lies on another."""

import re
from fractions import Fraction
from xml.etree import ElementTree as ET

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from joulegate.core.charts import Axis, Bar, Point, bars, scatter
from joulegate.core.labels import Box, place_labels, shortened, text_width

SVG = "{http://www.w3.org/2000/svg}"


def point(label: str, x: str, y: str, *, best: bool = False) -> Point:
    at, up = Fraction(x), Fraction(y)
    return Point(label, at, up, (at * 9 / 10, at * 11 / 10), (up - Fraction(1, 100), up + Fraction(1, 100)), best)


def drawn(points: list[Point]) -> ET.Element:
    return ET.fromstring(scatter("Accuracy against energy", "words", Axis("energy", "J"), Axis("accuracy"), points))  # noqa: S314 -- our own


def texts(root: ET.Element) -> list[str]:
    return ["".join(element.itertext()) for element in root.iter(f"{SVG}text")]


def boxes(root: ET.Element) -> list[Box]:
    found = []
    for element in root.iter(f"{SVG}text"):
        text, size = "".join(element.itertext()), int(element.attrib["font-size"])
        width, x, y = text_width(text, size), float(element.attrib["x"]), float(element.attrib["y"])
        left = {"start": x, "middle": x - width / 2, "end": x - width}[element.attrib["text-anchor"]]
        found.append(Box(left, y - size * 0.75, left + width, y + size * 0.2))
    return found


VARIANTS = [
    point("original", "0.91", "0.9899", best=True),
    point("distilled", "0.0162", "0.9748", best=True),
    point("sparse", "0.5", "0.9824", best=True),
    point("quantised", "18.9", "0.9874"),
]


def test_a_picture_names_itself_its_axes_and_every_variant() -> None:
    root = drawn(VARIANTS)
    assert root.attrib["role"] == "img"
    assert [root[0].tag, root[1].tag] == [f"{SVG}title", f"{SVG}desc"]
    said = texts(root)
    assert {"original", "distilled", "sparse", "quantised", "accuracy", "on the Pareto front"} <= set(said)
    assert any("energy, J" in text and "less is better" in text for text in said)


def test_the_front_differs_in_shape_and_not_in_colour_alone() -> None:
    root = drawn(VARIANTS)
    marks = list(root.iter(f"{SVG}g"))
    shapes = {group[0].text: group[1].tag.removeprefix(SVG) for group in marks}
    assert shapes == {"original": "circle", "distilled": "circle", "sparse": "circle", "quantised": "path"}


@pytest.mark.parametrize("label", ["<script>alert(1)</script>", "\"'><&", "a" * 300, "\u202egnp\x00\x1b[31m"])
def test_a_hostile_label_is_text_and_short(label: str) -> None:
    picture = scatter(label, label, Axis(label, label), Axis(label), [point(label, "1", "0.9")])
    root = ET.fromstring(picture)  # noqa: S314 -- our own
    assert not re.search(r"<script|\x00|\x1b|\u202e", picture)
    assert not list(root.iter(f"{SVG}script"))


def test_no_script_style_or_link_is_in_a_picture() -> None:
    picture = scatter("t", "d", Axis("x"), Axis("y"), VARIANTS) + bars("t", "d", [Bar("a", Fraction(1), "1 J")])
    assert not re.search(r"<(script|style|a|image|use|foreignObject)\b|href|style=| on\w+=", picture)


def test_the_same_input_gives_the_same_bytes() -> None:
    assert scatter("t", "d", Axis("x"), Axis("y"), VARIANTS) == scatter("t", "d", Axis("x"), Axis("y"), VARIANTS)


def test_nothing_to_draw_is_an_empty_frame() -> None:
    assert "energy, J" in " ".join(texts(drawn([])))
    assert texts(drawn([point("same", "0", "0")]))


coordinates = st.fractions(min_value=Fraction(1, 1000), max_value=1000, max_denominator=1000)
shares = st.fractions(min_value=0, max_value=1, max_denominator=500)


@settings(max_examples=60)
@given(
    st.lists(st.tuples(st.text("abcXYZ-1", min_size=1, max_size=40), coordinates, shares, st.booleans()), max_size=9)
)
def test_no_text_lies_on_another(rows: list[tuple[str, Fraction, Fraction, bool]]) -> None:
    root = drawn([Point(label, x, y, None, None, best) for label, x, y, best in rows])
    found = boxes(root)
    for index, box in enumerate(found):
        for other in found[index + 1 :]:
            assert not box.meets(other)


def test_labels_side_by_side_do_not_read_as_one_word() -> None:
    marks = [("11", Box(100, 100, 114, 114)), ("11", Box(154, 100, 168, 114))]
    one_line = [Box(0, 0, 600, 98), Box(0, 116, 600, 320)]
    assert len(place_labels(marks, one_line, Box(0, 0, 600, 320))) == 2
    with_no_room_at_the_right = Box(0, 0, 170, 320)
    assert len(place_labels(marks, one_line, with_no_room_at_the_right)) == 1


@given(st.lists(st.tuples(st.floats(0, 600), st.floats(0, 300)), max_size=12))
def test_a_label_covers_no_mark_and_no_obstacle(spots: list[tuple[float, float]]) -> None:
    frame = Box(0, 0, 620, 320)
    marks = [(f"variant {i}", Box(x, y, x + 12, y + 12)) for i, (x, y) in enumerate(spots)]
    wall = Box(300, 0, 310, 320)
    for label in place_labels(marks, [wall], frame):
        assert frame.holds(label.box)
        assert not label.box.meets(wall)
        assert not any(label.box.meets(mark) for _, mark in marks)


def test_bars_write_every_figure_beside_its_name() -> None:
    rows = [Bar("teacher", Fraction(1), "14 J"), Bar("x" * 60, Fraction(0), "not measured", best=True)]
    root = ET.fromstring(bars("Energy", "d", rows))  # noqa: S314 -- our own
    assert texts(root) == ["Energy", "teacher", "14 J", shortened("x" * 60, 34), "not measured"]
    widths = [float(rect.attrib["width"]) for rect in root.iter(f"{SVG}rect")][1:]
    assert widths[0] > widths[1] > 0
