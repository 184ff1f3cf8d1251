"""What still differs between Stripe and the books, each with its cause, and what of it is only under way."""

from collections.abc import Collection, Sequence
from datetime import datetime, timedelta
from typing import Final

import asyncpg
import msgspec

from tallystick.base.database import load_queries
from tallystick.base.money import from_minor

queries = load_queries(__file__, "differences.sql")

# Fourteen working days is the longest that a bank may take to say whether a debit comes, with holidays among them.
DEBIT_TAKES: Final = timedelta(days=21)
# The server asks again by itself, at least every hour.
ANSWER_TAKES: Final = timedelta(days=1)


class Difference(msgspec.Struct, frozen=True, kw_only=True):
    """`at_stripe_minor` less `booked_minor` is what the books lack, in the minor unit; none where it is no money.

    Money moved for it since `moved_at`; `asked_at` where all that differs is a refund that nobody answered yet."""

    subject: str
    cause: str
    at_stripe_minor: int | None = None
    booked_minor: int | None = None
    payment_intents: tuple[str, ...] = ()
    moved_at: datetime | None = None
    asked_at: datetime | None = None


class Waiting(msgspec.Struct, frozen=True, kw_only=True):
    """What is under way and will differ no more once it has ended: nothing is to be done about it yet."""

    subject: str
    waits_for: str
    since: datetime
    at_stripe_minor: int | None
    booked_minor: int | None


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
            moved_at=row["moved_at"],
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
            moved_at=row["moved_at"],
            # Only where that is all that differs.
            asked_at=row["asked_at"] if row["at_stripe_minor"] - row["booked_minor"] == row["asked_minor"] else None,
        )
        async for row in queries.sums(connection, livemode=livemode, since=since)
    ]
    return unexplained + sums


def as_it_stands(found: Difference, *, processing: Collection[str], now: datetime) -> Difference | Waiting:
    """What is only under way waits, for as long as that may take. `processing` are payments of which the bank has not
    said yet whether they come. Pure."""
    if found.asked_at is not None and now - found.asked_at < ANSWER_TAKES:
        return _waiting(found, found.asked_at, "Stripe's answer to a refund: the server asks again by itself")
    if not found.payment_intents or found.moved_at is None or not set(found.payment_intents) <= set(processing):
        return found
    if now - found.moved_at < DEBIT_TAKES:
        # Stripe shows its money at once, and its bank says days later whether it comes.
        return _waiting(found, found.moved_at, "the bank of a debit, which says days later whether the money comes")
    cause = f"its bank has not said for {DEBIT_TAKES.days} days whether the money comes: ask Stripe what became of it"
    return msgspec.structs.replace(found, cause=cause)


def _waiting(found: Difference, since: datetime, for_: str) -> Waiting:
    return Waiting(
        subject=found.subject,
        waits_for=for_,
        since=since,
        at_stripe_minor=found.at_stripe_minor,
        booked_minor=found.booked_minor,
    )


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
        async for row in queries.set_aside(connection, livemode=livemode, since=since, answer_takes=ANSWER_TAKES)
    ]


async def clearing(
    connection: asyncpg.Connection, *, livemode: bool, held_minor: int, found: Sequence[Difference | Waiting]
) -> list[Difference]:
    """Whether Stripe holds what its movements come to, and the books' clearing account says the same.

    `found` are the differences, and what waits, that explain a part of it; what they leave is one more."""
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
