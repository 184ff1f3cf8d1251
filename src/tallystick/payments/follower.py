"""A follower brings what we keep up to date with one kind of object at Stripe.

An event only says that something happened to an object: it may be old, and come in any order. So a follower reads the
object again, and then does to our books whatever is missing. What it does must not depend on which event came first, or
how often.
"""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Generic, TypeVar

import asyncpg

from tallystick.payments.ending import Ending
from tallystick.payments.stripe.client import StripeClient

Seen = TypeVar("Seen")


class Outdated(Exception):
    """Someone else wrote what a newer look at the object showed: look again."""


@dataclass(frozen=True, kw_only=True)
class Follower(Generic[Seen]):
    """`read` gets the pool (to learn what is known before it looks), Stripe, and the event's body, outside of any
    transaction; None means that the event is none of ours. `apply` has a transaction, and locks what it changes.

    `apply` may raise Outdated where what it was given is older than what is kept."""

    types: tuple[str, ...]
    read: Callable[[asyncpg.Pool, StripeClient, bytes], Awaitable[Seen | None]]
    apply: Callable[[asyncpg.Connection, Seen], Awaitable[Ending]]
    # For a type of event whose object may be one of two things: whether this body is about the follower's.
    concerns: Callable[[bytes], bool] = field(default=lambda _body: True)
