"""How an event, or what was read at Stripe, ended with us: what became of it, and why where that is not plain."""

from typing import Literal

EventState = Literal["processed", "ignored", "quarantined"]

Ending = tuple[EventState, str | None]
