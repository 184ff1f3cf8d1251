"""What is on offer: the plans and features of the catalog, without the thousands of prices beside them."""

from datetime import datetime

import asyncpg
import msgspec

from tallystick.base.database import load_queries
from tallystick.base.errors import Conflict
from tallystick.catalog.book import Book
from tallystick.catalog.document import decode
from tallystick.catalog.plan import Plan
from tallystick.catalog.timeline import Version

queries = load_queries(__file__, "offer.sql")


class Offer(msgspec.Struct, frozen=True, kw_only=True):
    """A Book of plans and features from `at` on, and how many versions of each were in force at least."""

    book: Book
    at: datetime
    features_read: int
    plans_read: int


async def read_offer(connection: asyncpg.Connection, at: datetime | None = None) -> Offer:
    """The offer at `at`, by default the database's now."""
    # Counted before it is read: what is published in between makes a document look older than it is, never newer.
    counted = await queries.counted(connection, at=at)
    versions = [
        Version(
            id=row["id"],
            kind=row["kind"],
            name=row["name"],
            effective_from=row["effective_from"],
            document=decode(row["kind"], row["document"]),
            retired=row["retired"],
            source=row["source"],
        )
        async for row in queries.offered(connection, since=counted["at"])
    ]
    return Offer(
        book=Book(versions),
        at=counted["at"],
        features_read=counted["features"],
        plans_read=counted["plans"],
    )


def refuse_billed_by_stripe(plan: Plan) -> None:
    """For who puts an organization on a plan without Stripe: usage that Stripe is to bill would be billed by nobody."""
    if plan.billed_by_stripe:
        raise Conflict(f"Stripe bills the usage of {plan.slug}: subscribe to it through checkout.")
