"""Checks of what was sold: each call has one hold (law 4), each charge follows from usage and price (law 5).

Like the ledger's checks they read only the caller's REPEATABLE READ snapshot.
"""

from typing import Final

import asyncpg

from tallystick.base.database import load_queries
from tallystick.base.errors import NotFound
from tallystick.catalog.document import CostProfile, Price, reprice
from tallystick.catalog.price import Usage
from tallystick.catalog.read import version
from tallystick.ledger.check import PROBLEMS_MAX, Check, by_query

queries = load_queries(__file__, "verify.sql")

# Completed calls are charged by their usage whatever the outcome policy says.
_ALWAYS_CHARGED: Final = "completed"


async def charges_recompute(connection: asyncpg.Connection) -> list[str]:
    """Cost and charge of every usage record again, from the catalog versions it names. Equal usage at equal prices is
    computed once."""
    problems: list[str] = []
    documents: dict[int, object] = {}
    async for row in connection.cursor(queries.usage_by_price.sql, prefetch=1000):
        for id_ in (row["cost_id"], row["price_id"]):
            if id_ not in documents:
                documents[id_] = await _document(connection, id_)
        problem = _mispriced(row, documents[row["cost_id"]], documents[row["price_id"]])
        if problem is not None:
            problems.append(problem)
            if len(problems) == PROBLEMS_MAX:
                break
    return problems


async def _document(connection: asyncpg.Connection, id_: int) -> object:
    try:
        return (await version(connection, id_)).document
    except NotFound:
        return None


def _mispriced(row: asyncpg.Record, cost_profile: object, price: object) -> str | None:
    where = f"usage record {row['id']} and {row['records'] - 1} like it"
    if not isinstance(cost_profile, CostProfile) or not isinstance(price, Price):
        return f"{where}: catalog entries {row['cost_id']} and {row['price_id']} are not a cost profile and a price"
    # A provider that told no usage is recorded, and charged, as none.
    cost, charge = (0, 0)
    if row["usage_source"] != "none":
        cost, charge = reprice(
            cost_profile,
            price,
            Usage(
                input_tokens=row["input_tokens"],
                cached_tokens=row["cached_tokens"],
                cache_write_tokens=row["cache_write_tokens"],
                output_tokens=row["output_tokens"],
                reasoning_tokens=row["reasoning_tokens"],
                input_audio_tokens=row["input_audio_tokens"],
                output_audio_tokens=row["output_audio_tokens"],
                images=row["images"],
            ),
        )
    if row["cost"] != cost:
        return f"{where}: cost {row['cost']}, but the recorded usage costs {cost}"
    if row["covered"]:
        charge = 0
    waived = row["charge"] == 0 and row["outcome"] != _ALWAYS_CHARGED
    if row["charge"] != charge and not waived:
        return f"{where}: charge {row['charge']}, but the recorded usage is charged {charge}"
    return None


checks: Final = (
    Check(4, "every usage record ended one hold", by_query(queries, "records_have_holds")),
    Check(4, "no request is recorded twice", by_query(queries, "recorded_once")),
    Check(5, "every hold was charged what it was settled with", by_query(queries, "transfers_sum_to_actual")),
    Check(5, "provider costs are accrued", by_query(queries, "costs_accrued")),
    Check(5, "cost and charge follow from usage and price", charges_recompute),
    Check(5, "what lies beyond allowances is charged as recorded", by_query(queries, "overage_is_what_its_claims_say")),
    Check(5, "a period costs what was used beyond its allowances", by_query(queries, "periods_cost_what_they_used")),
    Check(8, "meters are the fold of their holds", by_query(queries, "meters_add_up")),
    Check(8, "windows are the fold of their uses", by_query(queries, "features_add_up")),
    Check(8, "uses are what holds claim of windows", by_query(queries, "uses_are_claimed")),
)
