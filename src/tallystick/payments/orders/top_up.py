"""Automatic top-ups: what an organization agreed to, so that its card is charged when credits run low."""

from datetime import datetime, timedelta
from typing import Final, Literal

import asyncpg
import msgspec

from tallystick.base.database import load_queries
from tallystick.base.errors import Conflict, InvalidAmount, InvalidInput
from tallystick.base.money import from_minor, to_decimal, to_minor
from tallystick.ledger import audit
from tallystick.payments.customer import find_customer
from tallystick.payments.errors import PurchasesClosed
from tallystick.payments.orders.mail_to_billing import mail_to_billing
from tallystick.payments.orders.order import Buyer
from tallystick.payments.orders.purchase_terms import PurchaseTerms, purchase_of_amount
from tallystick.payments.stripe.client import StripeClient
from tallystick.payments.stripe.payment_method import SavedCard, saved_cards

queries = load_queries(__file__, "top_up.sql")

COOL_DOWN_MIN: Final = timedelta(minutes=1)
COOL_DOWN_MAX: Final = timedelta(days=31)


class NoSavedCard(Conflict):
    """There is no card that may be charged again."""

    code = "no_saved_card"


class TopUp(msgspec.Struct, frozen=True, kw_only=True):
    """Once less than `threshold` nanocredits can be spent, `amount_minor` is charged to `card`: never sooner than
    `cool_down` after the last time, and within a month, in UTC, never more than `monthly_max_minor`.

    `stopped` says why it stands still, until a person sets it again."""

    organization: str
    account: int
    enabled: bool
    threshold: int
    amount_minor: int
    monthly_max_minor: int
    currency: str
    cool_down: timedelta
    payment_method: str
    card: str
    stopped: str | None
    stopped_at: datetime | None
    changed_by: str
    changed_at: datetime


class Wanted(msgspec.Struct, frozen=True, kw_only=True):
    """What somebody asks for, in nanocredits; of the cards that were saved, the newest by default."""

    threshold: int
    amount: int
    monthly_max: int
    cool_down: timedelta = timedelta(minutes=10)
    enabled: bool = True
    payment_method: str | None = None


async def find_top_up(connection: asyncpg.Connection | asyncpg.Pool, organization: str) -> TopUp | None:
    row = await queries.find_top_up(connection, organization=organization)
    return None if row is None else msgspec.convert(dict(row), TopUp)


async def charged_this_month(connection: asyncpg.Connection | asyncpg.Pool, organization: str) -> int:
    """What this month's top-ups come to so far, in minor units, those under way included."""
    return int(await queries.charged_this_month(connection, organization=organization))


async def set_top_up(
    pool: asyncpg.Pool, stripe: StripeClient | None, terms: PurchaseTerms, buyer: Buyer, wanted: Wanted
) -> TopUp:
    """Agree to top-ups, or to other ones, from now on. One that stood still goes on.

    Raises InvalidInput, NoSavedCard, PurchasesClosed."""
    if stripe is None:
        raise PurchasesClosed("Nothing can be charged here: this server has no payment provider.", 60)
    purchase = purchase_of_amount(wanted.amount, terms)
    monthly_max_minor = to_minor(wanted.monthly_max)
    if monthly_max_minor < purchase.amount_minor:
        raise InvalidAmount("monthly_max", "must not be less than amount")
    if wanted.threshold > terms.maximum * from_minor(100):
        raise InvalidAmount("threshold", f"must be at most {terms.maximum} credits")
    if not COOL_DOWN_MIN <= wanted.cool_down <= COOL_DOWN_MAX:
        raise InvalidInput("cool_down_s", "must be between a minute and 31 days, in seconds")
    card = await _card(pool, stripe, buyer.organization, wanted.payment_method)
    async with pool.acquire() as connection, connection.transaction():
        before = await find_top_up(connection, buyer.organization)
        row = await queries.set_top_up(
            connection,
            organization=buyer.organization,
            account=buyer.account,
            enabled=wanted.enabled,
            threshold=wanted.threshold,
            amount_minor=purchase.amount_minor,
            monthly_max_minor=monthly_max_minor,
            currency=purchase.currency,
            cool_down=wanted.cool_down,
            payment_method=card.id,
            card=card.shown,
            changed_by=buyer.user_id,
        )
        after = msgspec.convert(dict(row), TopUp)
        await audit.record(
            connection,
            "top_up.set",
            by=buyer.user_id,
            subject=buyer.organization,
            organization=buyer.organization,
            before=None if before is None else shown(before),
            after=shown(after),
        )
    return after


async def remove_top_up(pool: asyncpg.Pool, organization: str, *, by: str) -> bool:
    """Charge nothing more by itself; False where there was nothing to end. What is under way ends as it ends."""
    async with pool.acquire() as connection, connection.transaction():
        row = await queries.remove_top_up(connection, organization=organization)
        if row is None:
            return False
        before = shown(msgspec.convert(dict(row), TopUp))
        await audit.record(
            connection, "top_up.removed", by=by, subject=organization, organization=organization, before=before
        )
    return True


async def stop_top_up(connection: asyncpg.Connection, organization: str, reason: str) -> bool:
    """Let it stand still until a person sets it again; False where it does already, or is gone."""
    if await queries.stop_top_up(connection, organization=organization, reason=reason) != "UPDATE 1":
        return False
    await _record_stop(connection, organization, reason)
    return True


async def stop_after_money_back(
    connection: asyncpg.Connection, organization: str, reason: Literal["disputed", "refunded"]
) -> None:
    """Money went back, and with it the credits that it had bought: charging the card for them at once would take it
    again. Whose bank disputes a payment is charged nothing more by itself, whatever is left."""
    at: datetime | None = await queries.stop_after_money_back(connection, organization=organization, reason=reason)
    if at is None:
        return
    await _record_stop(connection, organization, reason)
    await mail_to_billing(
        connection,
        organization,
        subject="Your automatic top-ups stand still",
        body=(
            f"A payment of yours was {reason}.\n\n"
            "So that your card is not charged again for what went back, automatic top-ups stand still until you set "
            "them again.\n"
        ),
        key=f"top-up stopped {organization} {at.isoformat()}",
    )


async def _record_stop(connection: asyncpg.Connection, organization: str, reason: str) -> None:
    await audit.record(
        connection,
        "top_up.stopped",
        by="stripe",
        subject=organization,
        organization=organization,
        after={"stopped": reason},
    )


def shown(top_up: TopUp) -> dict[str, object]:
    """What people are told of it, in credits."""
    return {
        "enabled": top_up.enabled,
        "threshold": to_decimal(top_up.threshold),
        "amount": to_decimal(from_minor(top_up.amount_minor)),
        "monthly_max": to_decimal(from_minor(top_up.monthly_max_minor)),
        "cool_down_s": int(top_up.cool_down.total_seconds()),
        "card": top_up.card,
        "stopped": top_up.stopped,
        "stopped_at": top_up.stopped_at,
    }


async def _card(pool: asyncpg.Pool, stripe: StripeClient, organization: str, wanted: str | None) -> SavedCard:
    customer = await find_customer(pool, organization, livemode=stripe.livemode)
    cards = [] if customer is None else await saved_cards(stripe, customer)
    found = next((card for card in cards if wanted in {None, card.id}), None)
    if found is None:
        raise NoSavedCard("There is no such saved card. Buy credits once with save_card, and set this then.")
    return found
