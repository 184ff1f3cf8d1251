"""What organizations are told of: the types of notices, and the patterns that webhooks choose them by. Pure."""

import re
from collections.abc import Sequence
from typing import Final

from tallystick.base.errors import InvalidInput

TYPES: Final = (
    "balance.low",
    "credits.purchased",
    "invoice.finalized",
    "invoice.paid",
    "invoice.payment_failed",
    "order.awaiting_payment",
    "order.created",
    "order.credited",
    "order.disputed",
    "order.expired",
    "order.failed",
    "order.paid",
    "order.refunded",
    "order.restored",
    "quota.exceeded",
    "subscription.canceled",
    "subscription.created",
    "subscription.updated",
)
TEST: Final = "webhook.test"
"""Sent to one endpoint only, when its owner asks for it."""

_PATTERNS_MAX: Final = 50
_PATTERN: Final = re.compile(r"\*|[a-z_]+\.(\*|[a-z_]+)")


def check_patterns(patterns: Sequence[str], field: str = "types") -> list[str]:
    """The patterns without repetition. Raises InvalidInput for one that no notice will ever have the type of."""
    if not 0 < len(patterns) <= _PATTERNS_MAX:
        raise InvalidInput(field, f"must name 1 to {_PATTERNS_MAX} types, such as order.*")
    for pattern in patterns:
        if not (_PATTERN.fullmatch(pattern) and any(wants(pattern, known) for known in TYPES)):
            # What could be anything is not said back.
            raise InvalidInput(field, f"must be of these, or patterns such as order.* or *: {', '.join(TYPES)}")
    return list(dict.fromkeys(patterns))


def wants(pattern: str, type_: str) -> bool:
    """As the database's webhook_wants decides."""
    return pattern in {"*", type_} or (pattern.endswith(".*") and type_.startswith(pattern[:-1]))
