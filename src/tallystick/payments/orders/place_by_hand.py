"""Place an order that is settled by hand: a transfer that names it, and a person who sees it come."""

from collections.abc import Callable
from datetime import datetime
from typing import Final

import asyncpg

from tallystick.base.database import load_queries
from tallystick.base.errors import Conflict, InvalidInput
from tallystick.catalog.book import Book
from tallystick.payments.orders.discount import with_coupon
from tallystick.payments.orders.order import Buyer, Order
from tallystick.payments.orders.place import place
from tallystick.payments.orders.purchase_terms import PurchaseTerms, purchase_of_amount, purchase_of_pack
from tallystick.payments.orders.read_coupon import read_coupon

queries = load_queries(__file__, "place_by_hand.sql")

OPEN_MAX: Final = 20
REFERENCE_CHARS_MAX: Final = 140


async def place_by_hand(
    pool: asyncpg.Pool,
    book: Callable[[], Book],
    terms: PurchaseTerms,
    buyer: Buyer,
    *,
    amount: int | None = None,
    pack: str | None = None,
    coupon: str | None = None,
    reference: str | None = None,
    request_id: str | None = None,
    address: str | None = None,
    now: datetime,
) -> Order:
    """An order of an amount of nanocredits or of a pack, waiting to be paid. Credits come with its approval alone.

    Raises InvalidInput, UnknownPack, UnknownCoupon and what taking a coupon raises, Conflict for too many at once."""
    if (amount is None) == (pack is None):
        raise InvalidInput("amount", "or pack is needed, and not both")
    if reference is not None and not (0 < len(reference) <= REFERENCE_CHARS_MAX and reference.isprintable()):
        raise InvalidInput("reference", f"must be a printable text of 1 to {REFERENCE_CHARS_MAX} characters")
    if amount is not None:
        purchase = purchase_of_amount(amount, terms)
    else:
        purchase = purchase_of_pack(book().pack(pack or ""), by_hand=True)
    taken = None
    if coupon is not None:
        taken = await read_coupon(pool, book, coupon, buyer.organization, address=address, now=now)
        purchase = with_coupon(purchase, taken)
    if await queries.open_orders(pool, organization=buyer.organization) >= OPEN_MAX:
        raise Conflict(f"{OPEN_MAX} orders wait to be paid already. Pay or have rejected some of them first.")
    return await place(
        pool,
        buyer,
        purchase,
        request_id=request_id,
        livemode=True,
        coupon=taken,
        kind="manual",
        reference=reference,
    )
