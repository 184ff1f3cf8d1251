"""One thing that a customer does on a day, and what they pay with."""

from dataclasses import dataclass, field
from typing import Any, Final

DAYS: Final = 41
"""A month, and the retries of its renewals."""

VISA, AUTHENTICATES, REFUND_FAILS = "4242424242424242", "4000002760003184", "4000000000005126"
DECLINED, FAILS_LATER, BANK, BANK_EMPTY = "4000000000000002", "4000000000000341", "000123456789", "000222222227"


@dataclass(frozen=True, slots=True)
class Act:
    """On `day` the customer does `what`. `of` names an act before it, which this one is about."""

    day: int
    what: str
    name: str = ""
    of: str = ""
    minor: int = 0
    given: dict[str, Any] = field(default_factory=dict)
