"""Who acts on the command line: the name that stands in the audit log."""

import os
import pwd
import re
from typing import Annotated, Final

import typer

from tallystick.base.errors import InvalidInput

By = Annotated[
    str | None,
    typer.Option("--by", help="Who does this, for the audit log; without it your login name.", metavar="NAME"),
]

_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._@+-]{0,63}")


def operator(by: str | None) -> str:
    """'operator:ada', as the audit log names people who work here. Raises InvalidInput."""
    name = by or _login_name()
    if not _NAME.fullmatch(name):
        raise InvalidInput("by", "must be a name of at most 64 letters, digits and . _ @ + -")
    return f"operator:{name}"


def _login_name() -> str:
    """Of the process's user, not of the environment, in which anybody could write another."""
    try:
        return pwd.getpwuid(os.getuid()).pw_name
    except KeyError:
        # In a container there may be a number only.
        return f"uid-{os.getuid()}"
