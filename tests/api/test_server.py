"""The process as people start it: one clear line where it cannot, a private token, a clean end."""

import json
import os
import signal
import socket
import stat
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.error import HTTPError
from urllib.request import HTTPCookieProcessor, Request, build_opener

import pytest

from joulegate.core.errors import JoulegateError, UnavailableError
from joulegate.tokens import Role, hash_of, read_rows
from joulegate_api.server import address_of, listen, own_token, serve, up
from joulegate_api.settings import load

COMMAND = [sys.executable, "-c", "import sys; from joulegate.cli import main; sys.exit(main())"]


def environment(home: Path) -> dict[str, str]:
    return os.environ | {"JOULEGATE_HOME": str(home), "PYTHONUNBUFFERED": "1"}


@contextmanager
def started(home: Path, *options: str) -> Iterator[subprocess.Popen[str]]:
    """`joulegate up` until the block ends; its first line is read before."""
    with subprocess.Popen(
        [*COMMAND, "up", "--port", "0", *options],
        env=environment(home),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        try:
            yield process
        finally:
            if process.poll() is None:
                process.kill()


def lines_until_ready(process: subprocess.Popen[str]) -> list[str]:
    lines = []
    for line in process.stdout or ():
        lines.append(line.rstrip())
        if line.startswith("Interrupt"):
            break
    return lines


def get(address: str, path: str, token: str | None = None) -> tuple[int, str]:
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    browser = build_opener(HTTPCookieProcessor())
    try:
        with browser.open(Request(address + path, headers=headers), timeout=20) as answer:  # noqa: S310 -- loopback
            return answer.status, answer.read().decode()
    except HTTPError as error:
        with error:
            return error.code, error.read().decode()


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_up_serves_until_it_is_told_to_end(tmp_path: Path, number: signal.Signals) -> None:
    home = tmp_path / "new" / "home"
    with started(home) as process:
        told = "\n".join(lines_until_ready(process))
        address, token = (home / "address").read_text().strip(), (home / "token").read_text().strip()
        assert address in told
        assert token not in told
        for name in ("token", "tokens", "address", "joulegate.db"):
            assert stat.S_IMODE((home / name).stat().st_mode) == 0o600
        assert get(address, "/readyz")[0] == 200
        assert get(address, "/v1/budgets")[0] == 401
        assert get(address, "/v1/budgets", token) == (200, '{"budgets":[]}')
        login = next(word for word in told.split() if "/login?key=" in word)
        assert get(login, "")[0] == 200, "the link leads to the first page"
        assert get(login, "")[0] == 401, "and opens once"
        process.send_signal(number)
        assert process.wait(timeout=20) == 0
        assert process.stderr is not None
        assert process.stderr.read() == ""


def test_up_again_keeps_the_token_and_the_principals(tmp_path: Path) -> None:
    settings = load({"home": tmp_path})
    token = own_token(settings)
    assert own_token(settings) == token
    (row,) = read_rows(settings.tokens_path.read_text(), "tokens")
    assert (row.token_hash, row.roles) == (hash_of(token), frozenset({Role.ADMIN}))
    (tmp_path / "token").unlink()
    assert own_token(settings) != token
    assert len(read_rows(settings.tokens_path.read_text(), "tokens")) == 2, "no row of before is lost"


def run(home: Path, *words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*COMMAND, *words], env=environment(home), capture_output=True, text=True, timeout=50, check=False
    )


@pytest.fixture
def own_umask() -> Iterator[None]:
    """`up` makes what it writes private; the test process goes on as before."""
    before = os.umask(0o022)
    yield
    os.umask(before)


@pytest.mark.usefixtures("own_umask")
def test_what_keeps_up_from_starting_is_one_clear_line(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    (tmp_path / "text.db").write_text("this is no database, however long it may be. " * 100)

    def fault(home: str, **options: object) -> str:
        with pytest.raises(JoulegateError) as raised:
            up(load({"home": tmp_path / home, "port": 0, **options}), lambda _: None)
        assert "\n" not in str(raised.value)
        return str(raised.value)

    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        assert f"port {port}" in fault("a", port=port)
    assert "file" in fault("file")
    assert "file/home" in fault("file/home")
    assert "none/x.db" in fault("b", database=f"sqlite:///{tmp_path}/none/x.db")
    assert "not a database" in fault("c", database=f"sqlite:///{tmp_path}/text.db")
    assert "no database address" in fault("d", database="no address")
    assert "127.0.0.1:1/x" in fault("e", database="postgresql://me:hidden@127.0.0.1:1/x")
    assert "hidden" not in fault("e", database="postgresql://me:hidden@127.0.0.1:1/x")
    assert "no-such-host" in fault("f", host="no-such-host.invalid")


@pytest.mark.slow
def test_the_command_says_it_in_one_line_and_ends_with_one(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    done = run(tmp_path / "file", "up", "--port", "0")
    assert (done.returncode, done.stdout) == (1, "")
    assert len(done.stderr.strip().splitlines()) == 1


def test_serve_wants_a_database_and_principals_that_are_there_already(tmp_path: Path, sqlite_url: str) -> None:
    for part, database in (("no database", f"sqlite:///{tmp_path}/none.db"), ("tokens", sqlite_url)):
        with pytest.raises(UnavailableError, match=part):
            serve(load({"home": tmp_path, "port": 0, "database": database}), lambda _: None)
    assert not (tmp_path / "token").exists()


def test_the_settings_in_force_are_listed_by_the_command(tmp_path: Path) -> None:
    done = run(tmp_path, "config", "--json")
    assert done.returncode == 0
    assert {"JOULEGATE_PORT", "JOULEGATE_UNBUDGETED"} <= {row["variable"] for row in json.loads(done.stdout)}


@pytest.mark.parametrize(
    ("host", "shown"),
    [("127.0.0.1", "http://127.0.0.1:"), ("0.0.0.0", "http://127.0.0.1:"), ("localhost", "http://localhost:")],  # noqa: S104 -- what is tested
)
def test_the_address_is_one_that_this_machine_reaches(host: str, shown: str) -> None:
    with listen("127.0.0.1", 0) as listener:
        assert address_of(listener, host).startswith(shown)
