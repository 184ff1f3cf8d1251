"""What still differs between Stripe and the books, each with its cause."""

from collections.abc import Sequence
from datetime import datetime

import asyncpg
import msgspec

from tallystick.base.database import load_queries
from tallystick.base.money import from_minor

queries = load_queries(__file__, "differences.sql")


class Difference(msgspec.Struct, frozen=True, kw_only=True):
    """`at_stripe_minor` less `booked_minor` is what the books lack, in the minor unit; none where it is no money."""

    subject: str
    cause: str
    at_stripe_minor: int | None = None
    booked_minor: int | None = None
    payment_intents: tuple[str, ...] = ()


async def money(connection: asyncpg.Connection, *, livemode: bool, since: datetime | None) -> list[Difference]:
    """Orders, invoices and payments for which Stripe moved another sum than the books say."""
    unexplained = [
        Difference(
            subject=f"payment {row['payment_intent']}",
            cause="it names an order or a customer of ours, and nothing here was paid by it",
            # With its fee, which nobody has booked either.
            at_stripe_minor=row["net_minor"],
            booked_minor=0,
            payment_intents=(row["payment_intent"],),
        )
        async for row in queries.unexplained(connection, livemode=livemode)
    ]
    sums = [
        Difference(
            subject=f"{'invoice' if row['subject'].startswith('in_') else 'order'} {row['subject']}",
            cause=row["reason"] or _cause(row["at_stripe_minor"], row["booked_minor"]),
            at_stripe_minor=row["at_stripe_minor"],
            booked_minor=row["booked_minor"],
            payment_intents=tuple(row["payment_intents"]),
        )
        async for row in queries.sums(connection, livemode=livemode, since=since)
    ]
    return unexplained + sums


def _cause(at_stripe_minor: int, booked_minor: int) -> str:
    if at_stripe_minor == 0:
        return "the books have it, and Stripe has moved nothing for it"
    if booked_minor == 0:
        return "Stripe has moved money for it, and the books have nothing"
    return "the books have another sum than Stripe has moved"


async def set_aside(connection: asyncpg.Connection, *, livemode: bool, since: datetime | None) -> list[Difference]:
    """What a person must look at although no money differs: events, subscriptions, refunds."""
    return [
        Difference(subject=row["subject"], cause=row["cause"])
        async for row in queries.set_aside(connection, livemode=livemode, since=since)
    ]


async def clearing(
    connection: asyncpg.Connection, *, livemode: bool, held_minor: int, found: Sequence[Difference]
) -> list[Difference]:
    """Whether Stripe holds what its movements come to, and the books' clearing account says the same.

    `found` are the differences that explain a part of it; what they leave is one more."""
    row = await queries.clearing(connection, livemode=livemode)
    differences = []
    if row["moved_minor"] != held_minor:
        differences.append(
            Difference(
                subject="balance",
                cause="Stripe holds another sum than its movements come to: run again without --since",
                at_stripe_minor=held_minor,
                booked_minor=row["moved_minor"],
            )
        )
    explained = sum((one.at_stripe_minor or 0) - (one.booked_minor or 0) for one in found)
    if row["booked"] != from_minor(row["moved_minor"] - explained):
        differences.append(
            Difference(
                subject="stripe_clearing",
                cause="the clearing account has another sum than all that Stripe moved, beyond the differences named",
                at_stripe_minor=row["moved_minor"] - explained,
                booked_minor=round(row["booked"] / from_minor(1)),
            )
        )
    return differences
