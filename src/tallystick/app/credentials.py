"""Find the secret a provider's credential names: in the environment of this process, or sealed in the database."""

import os
from collections.abc import Mapping
from typing import Final

import asyncpg

from tallystick.accounts import credential
from tallystick.base.errors import Misconfigured
from tallystick.base.sealed import Sealer
from tallystick.catalog.document import CredentialReference
from tallystick.settings import Settings

OPERATOR: Final = "operator"


class Credentials:
    """Call it with a reference; None where this process does not have the secret."""

    def __init__(
        self, pool: asyncpg.Pool, sealing_keys: str | None, environment: Mapping[str, str] | None = None
    ) -> None:
        self._pool = pool
        self._sealer = Sealer.parse(sealing_keys) if sealing_keys else None
        self._environment = os.environ if environment is None else environment

    async def __call__(self, reference: CredentialReference) -> str | None:
        if reference.env is not None:
            return self._environment.get(reference.env)
        if reference.sealed is None or self._sealer is None:
            return None
        async with self._pool.acquire() as connection:
            return await credential.get(connection, self._sealer, owner=OPERATOR, name=reference.sealed)


def sealer(settings: Settings) -> Sealer:
    """Raises Misconfigured where no key is set."""
    if not settings.sealing_keys:
        raise Misconfigured(
            "TALLYSTICK_SEALING_KEYS is not set; one key is made by: echo key1:$(openssl rand -base64 32)"
        )
    return Sealer.parse(settings.sealing_keys)
