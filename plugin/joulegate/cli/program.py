"""Puts the commands together and turns what goes wrong into one line and an exit code."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from importlib.metadata import entry_points
from typing import Annotated, Any, Final

import typer
from typer.main import get_command

import joulegate
from joulegate.cli import (
    admission,
    budgets,
    claims,
    comparisons,
    diagnosis,
    exceptions,
    ledger,
    measuring,
    rates,
    records,
    reports,
    tokens,
    verifying,
)
from joulegate.core.errors import JoulegateError

ERROR: Final = 1
USAGE: Final = 2
INTERRUPTED: Final = 130
READER_GONE: Final = 141
"""As a shell reports a process that SIGPIPE ended: 128 + 13."""

COMMANDS: Final = "joulegate.commands"
"""The entry-point group in which services add their commands: a function that takes the Typer app."""


def run(arguments: Sequence[str], name: str | None = None) -> int:
    """Run one command; every error is one line on stderr, never a traceback."""
    try:
        app, missing = build()
        answer = get_command(app).main(list(arguments), prog_name=name or _name(), standalone_mode=False)
        sys.stdout.flush()
    except (KeyboardInterrupt, typer.Abort):
        return INTERRUPTED
    except BrokenPipeError:
        _let_go_of_stdout()
        return READER_GONE
    except SystemExit as end:
        if not isinstance(end.__context__, BrokenPipeError):
            raise
        return READER_GONE  # Typer has let go of stdout already
    except (JoulegateError, OSError) as error:
        return _fail(_in_one_line(error), ERROR)
    except Exception as error:
        # Typer keeps its usage errors in a private module; this is what they have in common.
        if not hasattr(error, "format_message"):
            raise
        return _fail(_usage(error, missing), USAGE)
    return answer if isinstance(answer, int) else 0


def build() -> tuple[typer.Typer, list[str]]:
    """The program, and why commands of other packages could not be added to it."""
    app = typer.Typer(
        name="joulegate",
        help="Measures, prices and governs the energy of machine learning runs.",
        no_args_is_help=True,
        rich_markup_mode=None,  # plain help starts in half the time
        pretty_exceptions_enable=False,
        context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
    )
    app.callback()(_global_options)
    missing = []
    for entry in sorted(entry_points(group=COMMANDS), key=lambda entry: entry.name):
        try:
            entry.load()(app)
        except ImportError as error:
            missing.append(f"{entry.name}: {error}")
    for room in (
        measuring,
        records,
        comparisons,
        budgets,
        exceptions,
        ledger,
        admission,
        rates,
        reports,
        claims,
        tokens,
        verifying,
        diagnosis,
    ):
        room.register(app)
    return app, missing


def _tell_version(is_asked: bool) -> None:  # noqa: FBT001 -- how Typer calls it
    if is_asked:
        typer.echo(f"joulegate {joulegate.__version__}")
        raise typer.Exit


def _global_options(
    *,
    version: Annotated[
        bool, typer.Option("--version", help="Print the version and exit.", is_eager=True, callback=_tell_version)
    ] = False,
) -> None:
    """Nothing: the options do what they do by themselves."""


def _name() -> str:
    # kubectl finds plug-ins by the name of the file and shows them with a blank.
    called = os.path.basename(sys.argv[0])  # noqa: PTH119 -- a name, no path
    return called.replace("-", " ", 1).replace("_", "-") if called.startswith("kubectl-") else "joulegate"


def _usage(error: Any, missing: list[str]) -> str:  # noqa: ANN401 -- see run()
    message = " ".join(str(error.format_message()).split())
    context = getattr(error, "ctx", None)
    hint = f" (see {context.command_path} --help)" if context is not None else ""
    lost = f"; commands that could not be loaded: {'; '.join(missing)}" if missing and "command" in message else ""
    return f"{message}{hint}{lost}"


def _in_one_line(error: JoulegateError | OSError) -> str:
    if isinstance(error, OSError):
        place = f"{error.filename}: " if error.filename else ""
        return f"{place}{error.strerror or error}"
    return " ".join(str(error).split())


def _fail(message: str, code: int) -> int:
    sys.stderr.write(f"joulegate: {message}\n")
    return code


def _let_go_of_stdout() -> None:
    # The interpreter flushes stdout once more at its end, and would complain.
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
