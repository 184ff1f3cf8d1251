"""Holds: credits set aside for one request, and the ways in which an operation on one can be refused."""

from datetime import datetime
from uuid import UUID

import msgspec

from tallystick.base.errors import Conflict, NotFound, Unavailable


class HoldConflict(Conflict):
    """The same id came with another account, amount or charge; what was done first stands."""

    code = "hold_conflict"


class HoldEnded(Conflict):
    """The hold was settled, released or has expired: nothing may be sent or charged on its word any more."""

    code = "hold_ended"


class HoldNotFound(NotFound):
    """This account has no hold of that id."""

    code = "hold_not_found"


class OutcomeUnknown(Unavailable):
    """The database went away with the operation under way, and it may have been done. The same call with the same id
    does it once or finds it done. A hold of a dispatcher that was placed after all is released as soon as the database
    is back; another expires, or is there for whoever asks with its id again."""

    code = "outcome_unknown"


class ClaimsUnknown(Exception):
    """The hold has claims that whoever ends it did not mention; the end must go with them."""


class WrongPeriod(Unavailable):
    """By the database's clock, `now`, a claim's billing period is not the current one: ask again with the right one."""

    code = "wrong_period"

    def __init__(self, now: datetime) -> None:
        super().__init__("The billing period has just ended; the same request can be sent again.")
        self.now = now


class OpenHold(msgspec.Struct, frozen=True, kw_only=True):
    """A hold that has not ended."""

    id: UUID
    account: int
    amount: int
    created_at: datetime
    expires_at: datetime
    dispatcher: UUID | None
