"""``joulegate token``: principals, their roles, and the tokens that prove them."""

from __future__ import annotations

import fcntl
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any

import typer

from joulegate.cli.output import Column, Format, JsonOption, OutputOption, chosen, field, note, print_value, show_rows
from joulegate.core.errors import ConflictError, NotFoundError, UnavailableError

FileOption = Annotated[
    Path | None,
    typer.Option("--file", envvar="JOULEGATE_TOKENS_FILE", help="The rows; by default `tokens` in the home folder."),
]


def register(app: typer.Typer) -> None:
    """Add the commands."""
    group = typer.Typer(help="Principals, their roles, and the tokens that prove them.", no_args_is_help=True)
    group.command("add")(add)
    group.command("list")(list_)
    group.command("revoke")(revoke)
    app.add_typer(group, name="token")


def add(
    *,
    principal: Annotated[str, typer.Argument(help="Who: a person, a service, a meter.")],
    role: Annotated[list[str], typer.Option("--role", "-r", help="May be given several times.")],
    grant: Annotated[
        list[str], typer.Option("--namespace", "-n", help="[CLUSTER/]NAMESPACE[@SITE]; * alone is everything.")
    ],
    file: FileOption = None,
    output: OutputOption = Format.TABLE,
    as_json: JsonOption = False,
) -> None:
    """Make a token and print it, once: only its hash is kept."""
    from joulegate.tokens import format_row, hash_of, new_token, row_of

    form = chosen(output, as_json)
    token = new_token()
    row = row_of(hash_of(token), principal, role, grant, "token add")
    with _locked(_path(file)) as path:
        rows = _rows(path)
        if any(known.principal == principal for known in rows):
            raise ConflictError(f"{principal} has a token in {path}; revoke it first")
        _write(path, _text(path) + format_row(row) + "\n")
    if form is Format.TABLE:
        note(f"the token of {principal}, shown this once; {path} keeps its hash")
        typer.echo(token)
    else:
        print_value({"token": token, **_shown(row)}, form)


def list_(
    *,
    file: FileOption = None,
    output: OutputOption = Format.TABLE,
    as_json: JsonOption = False,
) -> None:
    """List principals with their roles and grants; tokens cannot be shown again."""
    form = chosen(output, as_json)
    path = _path(file)
    columns = (
        field("principal", "principal"),
        Column("roles", lambda row: ", ".join(row["roles"])),
        Column("namespaces", lambda row: ", ".join(row["grants"])),
        Column("token", lambda row: f"{row['token_hash'][:15]}..."),
    )
    show_rows([_shown(row) for row in _rows(path)], columns, form, empty=f"{path} has no rows")


def revoke(principal: Annotated[str, typer.Argument(help="Whose token.")], file: FileOption = None) -> None:
    """Take a principal's token away; a running API notices by itself."""
    with _locked(_path(file)) as path:
        hashes = {row.token_hash for row in _rows(path) if row.principal == principal}
        if not hashes:
            raise NotFoundError(f"{principal} has no token in {path}")
        lines = _text(path).splitlines(keepends=True)
        _write(path, "".join(line for line in lines if line.split()[:1] == [] or line.split()[0] not in hashes))
    note(f"the token of {principal} opens nothing any more")


def _path(file: Path | None) -> Path:
    from joulegate.home import home

    return file or home() / "tokens"


@contextmanager
def _locked(path: Path) -> Iterator[Path]:
    """Hold off a second command that would write the same file, and lose what this one wrote."""
    from joulegate.home import make_private

    make_private(path.parent)
    try:
        with path.with_name(f".{path.name}.lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield path
    except OSError as error:
        raise UnavailableError(f"cannot write beside {path}: {error.strerror}") from error


def _text(path: Path) -> str:
    from joulegate.home import read_private

    text = read_private(path)
    return text + "\n" if text else ""


def _write(path: Path, text: str) -> None:
    from joulegate.home import write_private

    write_private(path, text.encode())


def _rows(path: Path) -> tuple[Any, ...]:
    from joulegate.tokens import read_rows

    return read_rows(_text(path), str(path))


def _shown(row: Any) -> dict[str, Any]:  # noqa: ANN401 -- joulegate.tokens is imported when it is needed
    return {
        "principal": row.principal,
        "roles": sorted(row.roles),
        "grants": [str(grant) for grant in row.grants],
        "token_hash": row.token_hash,
    }
