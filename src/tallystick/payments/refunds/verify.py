"""Laws 7 and 12 on the live database: what goes back never exceeds the payment, takes back its share of the credits
once, and gives it back once; what it leaves owed is what the books say."""

from typing import Final

from tallystick.base.database import load_queries
from tallystick.ledger.check import Check, by_query

_queries = load_queries(__file__, "verify.sql")

checks: Final = (
    Check(7, "refunds and disputes never exceed the payment", by_query(_queries, "no_more_than_paid")),
    Check(7, "what went back took its credits, and what came back gave them back", by_query(_queries, "once_each")),
    Check(7, "every clawback is in the books, with its amounts", by_query(_queries, "clawback_posting")),
    Check(7, "every refund and dispute in the books has its cause", by_query(_queries, "posting_clawback")),
    Check(7, "what went back of a payment took its share of the credits", by_query(_queries, "shares")),
    Check(7, "every order says what went back of it", by_query(_queries, "order_numbers")),
    Check(12, "debts are what clawbacks left owed, less what paid them", by_query(_queries, "debts")),
    Check(12, "what is receivable of debts is what is open of them", by_query(_queries, "receivable")),
    Check(12, "who is held back owes for it, or disputes a plan's payment", by_query(_queries, "restrictions")),
)
