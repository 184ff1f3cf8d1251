"""What a customer can read below /v1: models, credits, the key itself, receipts. Each answer is a finished JSON."""

from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from typing import Final

import asyncpg
import orjson

from tallystick.accounts.authenticate import Caller
from tallystick.base.errors import NotFound
from tallystick.base.money import format_amount
from tallystick.gateway import models, receipt
from tallystick.gateway.parts import Parts
from tallystick.ledger.read import balance

Answer = bytes
_Reader = Callable[[str, Caller, Parts, asyncpg.Pool], Awaitable[object]]


async def answer_read(path: str, caller: Caller, parts: Parts, pool: asyncpg.Pool) -> Answer:
    """Raises NotFound, also for a receipt of somebody else."""
    prefix = _prefix(path)
    return orjson.dumps(await _READERS[prefix](path[len(prefix) :], caller, parts, pool))


def check_path(path: str) -> None:
    """Raises NotFound where nothing can be read, nor anything else be done."""
    _prefix(path)


def _prefix(path: str) -> str:
    for prefix in _READERS:
        if path == prefix or (prefix.endswith("/") and path.startswith(prefix)):
            return prefix
    raise NotFound("There is no such path.")


async def _models(_rest: str, _caller: Caller, parts: Parts, _pool: asyncpg.Pool) -> object:
    now = datetime.now(UTC)
    return {"object": "list", "data": [models.described(model) for model in parts.book().models(now)]}


async def _model(name: str, _caller: Caller, parts: Parts, _pool: asyncpg.Pool) -> object:
    for model in parts.book().models(datetime.now(UTC)):
        if model.name == name:
            return models.described(model)
    raise models.unknown(name)


async def _credits(_rest: str, caller: Caller, _parts: Parts, pool: asyncpg.Pool) -> object:
    async with pool.acquire() as connection:
        found = await balance(connection, caller.account)
    return {
        "object": "credits",
        "balance": format_amount(found.posted),
        "held": format_amount(found.held),
        "available": format_amount(found.available),
    }


async def _key(_rest: str, caller: Caller, _parts: Parts, _pool: asyncpg.Pool) -> object:
    return {
        "object": "key",
        "id": caller.key,
        "name": caller.name,
        "prefix": caller.prefix,
        "organization": caller.organization,
        "default_max_tokens": caller.default_max_tokens,
    }


async def _receipt(request_id: str, caller: Caller, parts: Parts, pool: asyncpg.Pool) -> object:
    async with pool.acquire() as connection:
        return await receipt.find(connection, request_id, caller.account, parts.policy)


_READERS: Final[dict[str, _Reader]] = {
    "/v1/models": _models,
    "/v1/models/": _model,
    "/v1/credits": _credits,
    "/v1/key": _key,
    "/v1/receipts/": _receipt,
}
