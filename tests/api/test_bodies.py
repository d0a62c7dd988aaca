"""The one reader of bodies: whatever is sent, the answer is a problem document and nothing is kept."""

import json
import time
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from joulegate_api.bodies import DEEPEST, LARGEST, depth_of, parse
from joulegate_api.errors import RefusedError
from tests.api.running import FACTORS, PRICES, SITES, Service, budget, job, record

BODIES: dict[tuple[str, str], Any] = {
    ("POST", "/v1/records"): record(),
    ("PUT", "/v1/budgets/vision"): budget(),
    ("PUT", "/v1/factors"): FACTORS,
    ("PUT", "/v1/prices"): PRICES,
    ("PUT", "/v1/sites"): SITES,
    ("POST", "/v1/comparisons"): {"variants": ["a", "b"]},
    ("POST", "/v1/predictions"): job(),
    ("POST", "/v1/admission/preview"): job(),
}
ROUTES = list(BODIES)

HOSTILE = {
    "nothing": (b"", "malformed_json"),
    "no JSON": (b"{]", "malformed_json"),
    "two values": (b"{}{}", "malformed_json"),
    "a byte order mark": (b"\xef\xbb\xbf{}", "malformed_json"),
    "no UTF-8": (b'{"a": "\xff"}', "invalid_text"),
    "a lone surrogate": (b'{"a": "\\ud800"}', "invalid_text"),
    "a lone surrogate as a key": (b'{"\\udfff": 1}', "invalid_text"),
    "NUL": (b'{"a": "\\u0000"}', "invalid_text"),
    "a key twice": (b'{"a": 1, "a": 1}', "duplicate_key"),
    "a key twice, spelled otherwise": (b'{"a": 1, "\\u0061": 1}', "duplicate_key"),
    "a key twice, deep": (b'{"a": [{"b": {"c": 1, "c": 2}}]}', "duplicate_key"),
    "NaN": (b'{"a": NaN}', "not_finite"),
    "Infinity": (b'{"a": -Infinity}', "not_finite"),
    "1e400": (b'{"a": 1e400}', "not_finite"),
    "a huge number": (b'{"a": 100000000000000000000000}', "out_of_range"),
    "2**53": (b'{"a": 9007199254740992}', "out_of_range"),
    "a number of 100,000 digits": (b'{"a": ' + b"9" * 100_000 + b"}", "out_of_range"),
    "too deep": (b'{"a":' + b"[" * 40 + b"]" * 40 + b"}", "too_deep"),
    "far too deep": (b"[" * 500_000, "too_deep"),
    "deep objects": (b'{"a":' * 100_000, "too_deep"),
    "too large": (b'{"a": "' + b"x" * LARGEST + b'"}', "too_large"),
    "an open string of quotes": (b'"' + b'\\"' * 400_000, "malformed_json"),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_body_is_refused_by_every_route_at_once(sqlite_service: Service, name: str) -> None:
    raw, code = HOSTILE[name]
    before = sqlite_service.fingerprint()
    for route in ROUTES:
        began = time.perf_counter()
        refused = sqlite_service.call(*route, raw)
        took = time.perf_counter() - began
        assert 400 <= refused.status_code < 500
        assert refused.headers["content-type"] == "application/problem+json"
        assert refused.json()["code"] == code
        assert took < 5  # a cost that grows with the square of the size would be minutes, a busy machine is not
    assert sqlite_service.fingerprint() == before


@pytest.mark.parametrize("value", [None, [], "text", 7, 1.5, True, {}, [{}], {"": {}}])
def test_json_that_is_no_such_body_is_refused_by_every_route(sqlite_service: Service, value: object) -> None:
    before = sqlite_service.fingerprint()
    for route in ROUTES:
        answered = sqlite_service.call(*route, json.dumps(value).encode())
        if route[1] == "/v1/admission/preview" and isinstance(value, dict):
            # any object is a manifest; what it asks for cannot be resolved, and no budget binds it
            assert answered.json()["reason"] == "NoBudget"
        else:
            assert answered.status_code == 422, answered.text
    assert sqlite_service.fingerprint() == before


@pytest.mark.parametrize(
    "headers",
    [
        {"Content-Type": "text/plain"},
        {"Content-Type": ""},
        {"Content-Type": "application/json; charset=utf-16"},
        {"Content-Encoding": "gzip"},
        {"Content-Encoding": "deflate, br"},
    ],
)
def test_only_plain_json_is_read(sqlite_service: Service, headers: dict[str, str]) -> None:
    refused = sqlite_service.post("/v1/records", record(), headers=headers)
    assert refused.status_code == 415
    assert refused.json()["code"] in {"unsupported_media_type", "unsupported_encoding"}


def test_a_body_that_announces_no_length_is_counted_as_it_comes(sqlite_service: Service) -> None:
    sent = 0

    def chunks() -> Iterator[bytes]:
        nonlocal sent
        for _ in range(100):
            sent += 1
            yield b" " * (LARGEST // 10)

    refused = sqlite_service.client.post(
        "/v1/records",
        content=chunks(),
        headers={"Authorization": "Bearer token-of-admin", "Content-Type": "application/json"},
    )
    assert (refused.status_code, refused.json()["code"]) == (413, "too_large")


def mutations(body: Any) -> st.SearchStrategy[Any]:
    """A body with one place of it replaced, removed or added to."""
    places = list(paths(body))
    odd = st.one_of(
        st.none(),
        st.booleans(),
        st.integers(-(2**70), 2**70),
        st.floats(),
        st.text(st.characters(), max_size=8),
        st.sampled_from(["", "-1", "1e3", "9" * 30, "2026-02-30T00:00:00Z", "0001-01-01T00:00:00Z", "\x00", "\u202e"]),
        st.lists(st.integers(), max_size=2),
        st.dictionaries(st.text(max_size=4), st.integers(), max_size=2),
    )
    return st.tuples(st.sampled_from(places), odd, st.sampled_from(["replace", "remove", "add"])).map(
        lambda drawn: mutated(body, *drawn)
    )


def paths(body: Any, at: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    if at:
        yield at
    if isinstance(body, dict | list):
        for key, inside in body.items() if isinstance(body, dict) else enumerate(body):
            yield from paths(inside, (*at, key))


def mutated(body: Any, place: tuple[Any, ...], value: object, how: str) -> Any:
    copy = json.loads(json.dumps(body))
    inside = copy
    for step in place[:-1]:
        inside = inside[step]
    if how == "remove":
        del inside[place[-1]]
    elif how == "add" and isinstance(inside, dict):
        inside[f"{place[-1]}x"] = value
    else:
        inside[place[-1]] = value
    return copy


@pytest.mark.parametrize("route", ROUTES, ids=[f"{method} {path}" for method, path in ROUTES])
def test_no_change_of_a_good_body_is_an_error_of_ours(route: tuple[str, str], sqlite_service: Service) -> None:
    @settings(max_examples=20, deadline=None, suppress_health_check=[HealthCheck.too_slow])
    @given(mutations(BODIES[route]))
    def hold(body: Any) -> None:
        before = sqlite_service.fingerprint()
        answered = sqlite_service.call(*route, json.dumps(body).encode())
        assert answered.status_code < 500, answered.text
        if answered.status_code >= 400:
            assert answered.json()["code"]
            assert sqlite_service.fingerprint() == before

    hold()


@given(st.binary(max_size=200) | st.text(max_size=100).map(str.encode))
def test_any_bytes_are_json_or_refused(raw: bytes) -> None:
    try:
        parse(raw)
    except RefusedError as error:
        status = error.status
    else:
        status = 200
    assert status < 500


json_values = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53) + 1, 2**53 - 1) | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\x00")),
    lambda inner: st.lists(inner, max_size=4)
    | st.dictionaries(st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\x00")), inner, max_size=4),
    max_leaves=20,
)  # fmt: skip


@given(json_values, st.booleans())
def test_good_json_is_read_as_it_is(value: object, ascii_only: bool) -> None:
    assert parse(json.dumps(value, ensure_ascii=ascii_only).encode()) == value


@given(json_values)
def test_depth_is_counted_as_it_nests(value: object) -> None:
    def depth(inside: object) -> int:
        if isinstance(inside, dict | list):
            parts = inside.values() if isinstance(inside, dict) else inside
            return 1 + max(map(depth, parts), default=0)
        return 0

    assert depth_of(json.dumps(value).encode()) == min(depth(value), DEEPEST + 1)
