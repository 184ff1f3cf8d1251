"""Checks of usage events: each was counted once (law 9) and charged as its hold says (law 5).

Like the ledger's checks they read only the caller's REPEATABLE READ snapshot.
"""

from typing import Final

from tallystick.base.database import load_queries
from tallystick.ledger.check import Check, by_query

queries = load_queries(__file__, "verify.sql")


checks: Final = (
    Check(9, "every usage event is recorded once", by_query(queries, "counted_once")),
    Check(5, "usage events were charged what their holds say", by_query(queries, "charged_as_held")),
)
