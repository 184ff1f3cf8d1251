"""What the supervisor hands a worker on its standard input: never on the command line, where others could read it."""

from pathlib import Path

import msgspec

from tallystick.settings import Settings


class Startup(msgspec.Struct, frozen=True, kw_only=True):
    settings: Settings
    dsn: str


def decode(line: bytes) -> Startup:
    """The line the supervisor wrote."""
    return msgspec.json.decode(line, type=Startup, dec_hook=lambda kind, value: Path(value) if kind is Path else value)
