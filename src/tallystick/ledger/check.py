"""A check of the books: which law of the ledger it proves, and the query that looks for breaches."""

from collections.abc import Awaitable, Callable
from typing import NamedTuple

import asyncpg


class Check(NamedTuple):
    """`run` returns one sentence per breach, none when the law holds in the caller's snapshot."""

    law: int
    name: str
    run: Callable[[asyncpg.Connection], Awaitable[list[str]]]
