"""Law 6 for subscriptions: what was paid of an invoice is income once, and ours are as Stripe's were when last seen."""

from typing import Final

from tallystick.base.database import load_queries
from tallystick.ledger.check import Check, by_query

_queries = load_queries(__file__, "verify.sql")

checks: Final = (
    Check(6, "every paid invoice is in the books with what was paid", by_query(_queries, "invoices")),
    Check(6, "no paid invoice is missing in the books", by_query(_queries, "not_booked")),
    Check(6, "all income of plans has its paid invoice", by_query(_queries, "income")),
    Check(6, "every subscription that Stripe bills stands as it did there", by_query(_queries, "subscriptions")),
)
