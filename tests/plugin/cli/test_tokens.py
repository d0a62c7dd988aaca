"""`joulegate token` keeps hashes only, and takes away what it gave."""

import stat
from pathlib import Path

from joulegate.tokens import hash_of
from tests.plugin.cli.conftest import Command


def test_tokens_are_added_once_listed_without_themselves_and_revoked(joulegate: Command, tmp_path: Path) -> None:
    file = str(tmp_path / "rows" / "tokens")
    added = joulegate("token", "add", "alice", "-r", "reader", "-r", "member", "-n", "vision", "--file", file, "--json")
    assert added.code == 0
    token = added.json["token"]
    text = Path(file).read_text()
    assert token not in text
    assert hash_of(token) in text
    assert stat.S_IMODE(Path(file).stat().st_mode) == 0o600
    assert joulegate("token", "add", "alice", "-r", "reader", "-n", "*", "--file", file).code == 1
    assert joulegate("token", "add", "eve", "-r", "king", "-n", "*", "--file", file).code == 1
    assert joulegate("token", "add", "bob", "-r", "admin", "-n", "*", "--file", file).code == 0
    listed = joulegate("token", "list", "--file", file, "--json").json
    assert [(row["principal"], row["roles"]) for row in listed] == [("alice", ["member", "reader"]), ("bob", ["admin"])]
    assert joulegate("token", "revoke", "alice", "--file", file).code == 0
    assert [row["principal"] for row in joulegate("token", "list", "--file", file, "--json").json] == ["bob"]
    assert joulegate("token", "revoke", "alice", "--file", file).code == 1


def test_comments_of_a_file_of_tokens_are_kept(joulegate: Command, tmp_path: Path) -> None:
    file = tmp_path / "tokens"
    file.write_text("# who may do what\n\n")
    joulegate("token", "add", "alice", "-r", "reader", "-n", "*", "--file", str(file))
    joulegate("token", "revoke", "alice", "--file", str(file))
    assert file.read_text() == "# who may do what\n"
