"""The errors that somebody catches."""

from __future__ import annotations


class JoulegateError(Exception):
    """Something that Joulegate refuses or cannot do, said in one line for a person.

    ``code`` is stable and public: it is the ``code`` of problem documents and
    of ``--json`` output.
    """

    code = "error"


class InvalidInputError(JoulegateError):
    """Input that breaks a rule; ``field`` names the place (a path, or ``file:line``)."""

    code = "invalid_input"

    def __init__(self, message: str, field: str | None = None) -> None:
        """Keep the place apart from the message, so that each can be shown alone."""
        super().__init__(f"{field}: {message}" if field else message)
        self.field = field
        self.message = message


class ConflictError(JoulegateError):
    """The same identity was used before with other content."""

    code = "conflict"


class NotFoundError(JoulegateError):
    """No object of this name is known."""

    code = "not_found"


class NotPermittedError(JoulegateError):
    """The principal is known and may not do this."""

    code = "not_permitted"


class UnavailableError(JoulegateError):
    """A part that is needed (database, device, address) cannot be had now.

    The message may name addresses and folders of the server; ``told`` is what its clients are told.
    """

    code = "unavailable"
    told = "a part that is needed cannot be had now; the log of the server says which"


class ReadOnlyError(UnavailableError):
    """The ledger takes nothing: its database was restored from a backup, or changed, since it was published."""

    code = "read_only"
    told = (
        "the ledger is read-only: its database does not begin with what was published of it; "
        "whoever runs it finds the cause in the log of the server, and `joulegate log recover --accept-loss`"
    )
