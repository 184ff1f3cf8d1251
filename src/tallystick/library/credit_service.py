"""Credits, in-process and async: balance, purchase, deduct, history. The credits API is this, over HTTP."""

from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from datetime import UTC, datetime
from uuid import UUID

import asyncpg
import msgspec

from tallystick.accounts.organization import resolve_payer
from tallystick.base.changes import Changes
from tallystick.base.errors import InvalidInput
from tallystick.base.ids import new_id
from tallystick.base.money import to_decimal
from tallystick.catalog.book import Book
from tallystick.catalog.document import Coupon
from tallystick.catalog.live import LiveBook
from tallystick.library import statement
from tallystick.library.answers import (
    Amount,
    BalanceResponse,
    BatchResponse,
    Deduction,
    DeductResponse,
    HistoryResponse,
    PurchaseResponse,
    RedeemResponse,
)
from tallystick.library.database import open_database
from tallystick.library.deduct import deduct, deduct_batch
from tallystick.library.inputs import nanocredits, text
from tallystick.payments.errors import PurchasesClosed
from tallystick.payments.orders.checkout import start_checkout
from tallystick.payments.orders.discount import with_coupon
from tallystick.payments.orders.grant import grant
from tallystick.payments.orders.order import Buyer
from tallystick.payments.orders.purchase_terms import Purchase, PurchaseTerms, purchase_of_amount, purchase_of_pack
from tallystick.payments.orders.read_coupon import read_coupon
from tallystick.payments.orders.redeem import redeem
from tallystick.payments.stripe.client import StripeClient
from tallystick.reservations.lanes import Lanes


def _utc_now() -> datetime:
    return datetime.now(UTC)


class CreditService:
    """Wherever a `user_id` is asked for, an organization's id is taken too. What is handed in stays the caller's to
    close; `connect` opens and closes all of it."""

    def __init__(
        self,
        pool: asyncpg.Pool,
        lanes: Lanes,
        *,
        stripe: StripeClient | None = None,
        book: Callable[[], Book] | None = None,
        terms: PurchaseTerms | None = None,
        now: Callable[[], datetime] = _utc_now,
    ) -> None:
        self._pool = pool
        self._lanes = lanes
        self._stripe = stripe
        self._book = book
        self._terms = terms or PurchaseTerms()
        self._now = now

    @classmethod
    @asynccontextmanager
    async def connect(
        cls,
        database_url: str,
        *,
        stripe_api_key: str | None = None,
        stripe_api_base: str | None = None,
        terms: PurchaseTerms | None = None,
    ) -> AsyncIterator["CreditService"]:
        """A service on a database that `tallystick migrate` has prepared, for as long as the block lasts."""
        async with AsyncExitStack() as stack:
            pool = await stack.enter_async_context(await open_database(database_url))
            changes, lanes = Changes(database_url), Lanes(database_url)
            # Packs need no credential of a provider.
            book = LiveBook(pool, changes, lambda _reference: None)
            for part in (changes, lanes, book):
                await part.start()
                stack.push_async_callback(part.stop)
            stripe = None
            if stripe_api_key is not None:
                stripe = StripeClient(stripe_api_key, api_base=stripe_api_base)
                stack.push_async_callback(stripe.close)
            yield cls(pool, lanes, stripe=stripe, book=lambda: book.current, terms=terms)

    async def get_balance(self, user_id: str) -> BalanceResponse:
        """What the user's organization has, and when it last bought and last spent. Raises NotFound."""
        async with self._pool.acquire() as connection:
            _organization, account = await resolve_payer(connection, user_id)
            return await statement.balance(connection, account)

    async def history(
        self, user_id: str, *, limit: int = 50, cursor: str | None = None, only: str | None = None
    ) -> HistoryResponse:
        """What came in and went out, newest first; of one type where `only` names it. Raises NotFound."""
        async with self._pool.acquire() as connection:
            _organization, account = await resolve_payer(connection, user_id)
            return await statement.history(connection, account, limit=limit, cursor=cursor, only=only)

    async def purchase(
        self,
        user_id: str,
        amount: Amount | None = None,
        *,
        pack: str | None = None,
        idempotency_key: str | None = None,
        bought_by: str | None = None,
        coupon: str | None = None,
        save_card: bool = False,
        address: str | None = None,
    ) -> PurchaseResponse:
        """Start the purchase of an amount or of a pack; the same `idempotency_key` gives the same session.

        `bought_by` is the user who asks, where `user_id` names the organization they ask for; `coupon` a code they
        typed, at `address`; with `save_card` the card they pay by may be charged again, by a top-up."""
        if self._stripe is None:
            raise PurchasesClosed("Credits cannot be bought here: this server has no payment provider.", 60)
        if idempotency_key is not None:
            text(idempotency_key, "Idempotency-Key")
        purchase = msgspec.structs.replace(self._priced(amount, pack), save_card=save_card)
        async with self._pool.acquire() as connection:
            organization, account = await resolve_payer(connection, user_id)
        taken = None
        if coupon is not None:
            taken = await self._coupon(coupon, organization, address)
            purchase = with_coupon(purchase, taken)
        started = await start_checkout(
            self._pool,
            self._stripe,
            self._terms,
            Buyer(organization=organization, account=account, user_id=bought_by or user_id),
            purchase,
            request_id=idempotency_key,
            now=self._now(),
            coupon=taken,
        )
        return PurchaseResponse(
            checkout_url=started.checkout_url, session_id=started.session_id, order_id=started.order_id
        )

    async def redeem(
        self,
        user_id: str,
        code: str,
        *,
        idempotency_key: str | None = None,
        redeemed_by: str | None = None,
        address: str | None = None,
    ) -> RedeemResponse:
        """Take the free credits of a coupon; the same `idempotency_key` takes them once.

        Raises UnknownCoupon, CouponUsedUp, CouponNotValid, CouponNotFitting."""
        async with self._pool.acquire() as connection:
            organization, account = await resolve_payer(connection, user_id)
        coupon = await self._coupon(code, organization, address)
        buyer = Buyer(organization=organization, account=account, user_id=redeemed_by or user_id)
        if idempotency_key is not None:
            text(idempotency_key, "Idempotency-Key")
        done = await redeem(self._pool, buyer, coupon, request_id=idempotency_key, now=self._now())
        return RedeemResponse(
            credits=to_decimal(done.credits),
            expires_at=done.expires_at,
            balance=(await self.get_balance(organization)).balance,
        )

    async def deduct(self, user_id: str, amount: Amount, request_id: str | None = None) -> DeductResponse:
        """Charge for usage. The same `request_id` is charged once, however often it is sent.

        Raises InsufficientCreditsError, NotFound, InvalidInput, and Conflict for the same id with another amount."""
        return await deduct(self._pool, self._lanes, Deduction(user_id=user_id, amount=amount, request_id=request_id))

    async def deduct_batch(self, deductions: Sequence[Deduction | Mapping[str, object]]) -> BatchResponse:
        """Charge many at once. Each stands alone: one that fails is told of in its place, and the others are made."""
        return await deduct_batch(self._pool, self._lanes, deductions)

    async def add_credits(
        self,
        user_id: str,
        amount: Amount,
        *,
        source: str,
        operation: UUID | None = None,
        expires_at: datetime | None = None,
        priority: int = 0,
    ) -> BalanceResponse:
        """Give promotional credits, once per `operation`; `source` names who or what gives them."""
        nano = nanocredits(amount)
        async with self._pool.acquire() as connection:
            _organization, account = await resolve_payer(connection, user_id)
        await grant(
            self._pool,
            account,
            nano,
            operation=operation or new_id(),
            source=source,
            expires_at=expires_at,
            priority=priority,
        )
        return await self.get_balance(user_id)

    async def _coupon(self, code: str, organization: str, address: str | None) -> Coupon:
        if self._book is None:
            raise PurchasesClosed("Coupons are not taken here.", 60)
        return await read_coupon(
            self._pool, self._book, text(code, "coupon"), organization, address=address, now=self._now()
        )

    def _priced(self, amount: Amount | None, pack: str | None) -> Purchase:
        if (amount is None) == (pack is None):
            raise InvalidInput("amount", "or pack is needed, and not both")
        if pack is None:
            return purchase_of_amount(nanocredits(amount), self._terms)
        if self._book is None:
            raise PurchasesClosed("Packs are not on sale here.", 60)
        return purchase_of_pack(self._book().pack(text(pack, "pack")))
