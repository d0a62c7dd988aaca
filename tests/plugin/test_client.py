"""The client: what is tried again, what is not, and where the token goes."""

import socket
import time
from pathlib import Path

import pytest

from joulegate.client import ApiError, Client
from joulegate.core.errors import UnavailableError
from tests.plugin.api_double import Api, serving


def test_it_sends_json_with_the_token_and_parses_the_answer(api: Api) -> None:
    api.will(200, {"items": [1]})
    assert Client(api.address, "t0ken").post("/v1/predictions", {"a": "1"}) == {"items": [1]}
    assert api.seen == [("POST", "/v1/predictions", "Bearer t0ken", {"a": "1"})]


@pytest.mark.parametrize("status", [408, 429, 500, 502, 503, 504])
def test_a_passing_failure_is_tried_again(api: Api, status: int) -> None:
    api.will(status, times=2)
    api.will(200, {"name": "vision"})
    assert Client(api.address).get("/v1/budgets/vision") == {"name": "vision"}
    assert len(api.seen) == 3


@pytest.mark.parametrize("status", [400, 401, 403, 404, 409, 413, 422])
def test_a_refusal_is_not_tried_again_and_says_why(api: Api, status: int) -> None:
    api.will(status, {"code": "conflict", "title": "Conflict", "detail": "the same id, other content"})
    with pytest.raises(ApiError, match="the same id, other content") as caught:
        Client(api.address).put("/v1/budgets/vision", {})
    assert (caught.value.status, caught.value.code) == (status, "conflict")
    assert len(api.seen) == 1


def test_what_must_not_be_repeated_is_not_sent_twice_after_a_doubt(api: Api) -> None:
    api.will(500)
    with pytest.raises(ApiError):
        Client(api.address).post("/v1/exceptions", {})
    assert len(api.seen) == 1


def test_the_pause_that_the_api_asks_for_is_kept(api: Api) -> None:
    api.will(429, headers={"Retry-After": "1"})
    begun = time.monotonic()
    Client(api.address).get("/v1/budgets")
    assert time.monotonic() - begun >= 1


def test_an_api_that_is_away_is_one_line_within_the_time_given() -> None:
    begun = time.monotonic()
    with pytest.raises(UnavailableError, match=r"no answer from http://127.0.0.1:9: Connection refused"):
        Client("http://127.0.0.1:9", retry_s=0.5).get("/v1/budgets")
    assert time.monotonic() - begun < 2


def test_an_api_that_never_answers_is_left_in_time() -> None:
    with (
        socket.create_server(("127.0.0.1", 0)) as silent,
        pytest.raises(UnavailableError, match="timed out"),
    ):
        Client(f"http://127.0.0.1:{silent.getsockname()[1]}", timeout_s=0.2, retry_s=0).get("/v1/budgets")


def test_a_proxy_of_the_environment_does_not_capture_loopback(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    Client(api.address).get("/v1/budgets")
    assert len(api.seen) == 1


def test_a_redirect_is_not_followed_with_the_token(api: Api) -> None:
    with serving() as elsewhere:
        api.will(307, headers={"Location": f"{elsewhere.address}/v1/budgets"})
        with pytest.raises(ApiError) as caught:
            Client(api.address, "t0ken").get("/v1/budgets")
        assert caught.value.status == 307
        assert elsewhere.seen == []


def test_an_answer_that_is_no_problem_document_is_still_an_error(api: Api) -> None:
    api.will(400, b"<html>")
    with pytest.raises(ApiError, match="Bad Request") as caught:
        Client(api.address).get("/v1/budgets")
    assert caught.value.code == "not_a_problem"


def test_an_answer_that_is_not_json_is_one_line(api: Api) -> None:
    api.will(200, b"<html>")
    with pytest.raises(UnavailableError, match="not JSON"):
        Client(api.address).get("/v1/budgets")


def test_an_address_that_is_none_is_one_line() -> None:
    with pytest.raises(UnavailableError, match="not an address"):
        Client("file:///etc/passwd").get("/")


def test_the_home_folder_gives_address_and_token(tmp_path: Path) -> None:
    (tmp_path / "address").write_text("http://127.0.0.1:8080\n")
    (tmp_path / "token").write_text("t0ken\n")
    client = Client.from_home({"JOULEGATE_HOME": str(tmp_path)})
    assert (client.address, client.token) == ("http://127.0.0.1:8080", "t0ken")


def test_the_environment_goes_before_the_home_folder(tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("from-file\n")
    environment = {
        "JOULEGATE_HOME": str(tmp_path),
        "JOULEGATE_ADDRESS": "https://api.example",
        "JOULEGATE_TOKEN_FILE": str(tmp_path / "secret"),
    }
    client = Client.from_home(environment)
    assert (client.address, client.token) == ("https://api.example", "from-file")
    assert Client.from_home({**environment, "JOULEGATE_TOKEN": "given"}).token == "given"


def test_the_token_of_the_home_folder_is_not_sent_to_another_address(tmp_path: Path) -> None:
    (tmp_path / "address").write_text("http://127.0.0.1:8080\n")
    (tmp_path / "token").write_text("t0ken\n")
    environment = {"JOULEGATE_HOME": str(tmp_path), "JOULEGATE_ADDRESS": "https://api.example"}
    assert Client.from_home(environment).token is None


def test_no_address_is_said_with_the_way_to_get_one(tmp_path: Path) -> None:
    with pytest.raises(UnavailableError, match="joulegate up"):
        Client.from_home({"JOULEGATE_HOME": str(tmp_path)})
    with pytest.raises(UnavailableError, match="does not exist"):
        Client.from_home({"JOULEGATE_HOME": str(tmp_path), "JOULEGATE_TOKEN_FILE": str(tmp_path / "none")})
