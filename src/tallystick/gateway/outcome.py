"""Who pays when a call does not simply succeed: a table, written down, that an operator can change (pure).

The receipt of every call names the rule that decided its charge, and why. docs/decisions/0010-outcome-policy.md has
the reasons.
"""

from collections.abc import Mapping
from enum import StrEnum
from typing import Final

from msgspec import Struct

from tallystick.base.errors import Misconfigured


class Outcome(StrEnum):
    """How a call ended, as seen from the gateway. Exactly one holds."""

    COMPLETED = "completed"
    EMPTY = "empty"
    REFUSED = "refused"
    UPSTREAM_ERROR = "upstream_error"
    TRUNCATED = "truncated"
    CLIENT_GONE = "client_gone"
    STOPPED = "stopped"
    OUR_FAULT = "our_fault"
    RECOVERED = "recovered"


class Basis(StrEnum):
    NOTHING = "nothing"
    # The provider's usage where it told one, else what was delivered, estimated.
    USAGE = "usage"


class Rule(Struct, frozen=True):
    basis: Basis
    why: str


Policy = Mapping[Outcome, Rule]

DEFAULT: Final[Policy] = {
    Outcome.COMPLETED: Rule(Basis.USAGE, "The provider answered in full."),
    Outcome.EMPTY: Rule(Basis.NOTHING, "The answer held nothing to use."),
    Outcome.REFUSED: Rule(Basis.NOTHING, "The provider refused the request before it began."),
    Outcome.UPSTREAM_ERROR: Rule(Basis.NOTHING, "The provider failed before any content."),
    Outcome.TRUNCATED: Rule(Basis.USAGE, "The provider failed after content: what was delivered is charged."),
    Outcome.CLIENT_GONE: Rule(Basis.USAGE, "The client left while the provider went on: its usage is charged."),
    Outcome.STOPPED: Rule(Basis.USAGE, "This server stopped after content: what was delivered is charged."),
    Outcome.OUR_FAULT: Rule(Basis.NOTHING, "The fault was ours."),
    Outcome.RECOVERED: Rule(Basis.USAGE, "This server died during the call: its last record of it is charged."),
}
# Charging nothing for what was delivered in full would make every call free; so would not charging one who leaves.
_FIXED: Final = frozenset({Outcome.COMPLETED})


def policy(changes: Mapping[str, str]) -> Policy:
    """The default with an operator's changes: outcome -> "usage" or "nothing"."""
    rules = dict(DEFAULT)
    for name, basis in changes.items():
        try:
            outcome, chosen = Outcome(name), Basis(basis)
        except ValueError as error:
            raise Misconfigured(f"The outcome policy cannot say {name} = {basis}: {error}.") from None
        if outcome in _FIXED:
            raise Misconfigured(f"The outcome policy cannot change {name}: a completed call is charged by its usage.")
        rules[outcome] = Rule(chosen, f"{rules[outcome].why} (Set by the operator: {chosen}.)")
    return rules
