"""Whom the tests trust: one authority. Reading all that a system trusts takes most of the time of a small test."""

import os
from pathlib import Path
from typing import Final

import certifi

_VARIABLE: Final = "SSL_CERT_FILE"
_NAME: Final = "one-authority.pem"
_END: Final = "-----END CERTIFICATE-----\n"


def trust_one(folder: Path) -> None:
    """Clients of this process and of those that it starts read one certificate, unless they were told which."""
    if _VARIABLE not in os.environ:
        first, end, _rest = Path(certifi.where()).read_text().partition(_END)
        folder.mkdir(mode=0o711, parents=True, exist_ok=True)
        folder.joinpath(_NAME).write_text(first + end)
        os.environ[_VARIABLE] = str(folder / _NAME)


def trusting_all() -> dict[str, str]:
    """The environment of a program that fetches something."""
    return {name: value for name, value in os.environ.items() if not value.endswith(_NAME)}
