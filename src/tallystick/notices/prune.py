"""Forget what was told long ago: deliveries with their attempts, notices, mails. What is kept is in the audit log."""

from collections.abc import Mapping
from datetime import timedelta
from typing import Any, Final

import asyncpg

from tallystick.base.database import load_queries

queries = load_queries(__file__, "prune.sql")

KEPT: Final = timedelta(days=90)
# What is told once for a key must be known for as long as that could be told again: for a year's billing period.
_KEYS_KEPT: Final = timedelta(days=400)
_BATCH: Final = 1000


async def prune_notices(pool: asyncpg.Pool) -> int:
    """Returns how many rows went, in small transactions. May run at any time, twice, on several hosts at once."""
    kept, keys = {"kept": KEPT}, {"kept": KEPT, "keys_kept": _KEYS_KEPT}
    return (
        await _all(pool, queries.old_deliveries, kept)
        + await _all(pool, queries.old_notices, keys)
        + await _all(pool, queries.empty_old_mails, kept)
        + await _all(pool, queries.old_mails, keys)
    )


async def _all(pool: asyncpg.Pool, query: Any, times: Mapping[str, timedelta]) -> int:
    gone = 0
    while True:
        count: int = await query(pool, most=_BATCH, **times)
        gone += count
        if count < _BATCH:
            return gone
