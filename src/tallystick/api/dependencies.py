"""What the API needs of the world: built once by the app (or a test), reached by every route through one function."""

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import cached_property
from typing import Annotated

import asyncpg
from fastapi import Depends, Request

from tallystick.accounts.authenticate import KeyRing
from tallystick.api.few_at_a_time import FewAtATime
from tallystick.api.service_token import ServiceTokens
from tallystick.base.changes import Changes
from tallystick.base.sealed import Sealer
from tallystick.catalog.book import Book
from tallystick.library.credit_service import CreditService
from tallystick.library.tally_local import LocalTally
from tallystick.metering.lateness import Lateness
from tallystick.notices.fence import Fence
from tallystick.payments.billing.return_url import host_of
from tallystick.payments.inbox.inbox import Inbox
from tallystick.payments.orders.purchase_terms import PurchaseTerms
from tallystick.payments.stripe.client import StripeClient
from tallystick.reservations.lanes import Lanes
from tallystick.subscriptions.live import LiveConstraints


def _utc_now() -> datetime:
    return datetime.now(UTC)


@dataclass(frozen=True, kw_only=True)
class ApiDependencies:
    """What it is handed stays the caller's to start and to stop; what it makes of that ends with `stop`.

    `stripe` None means that nothing can be bought; no webhook secret closes the webhook; no service token closes
    deducting. `public_url` is where customers reach this server, without a slash at the end; `lateness` until when a
    billing period takes usage events."""

    pool: asyncpg.Pool
    lanes: Lanes
    changes: Changes
    keyring: KeyRing
    book: Callable[[], Book]
    public_url: str
    stripe: StripeClient | None = None
    webhook_secrets: tuple[str, ...] = ()
    service_tokens: tuple[str, ...] = ()
    purchase_min: int = 1
    purchase_max: int = 10_000
    # Where money for orders settled by hand goes; without it customers make none.
    transfer_to: str | None = None
    sign_up_open: bool = True
    # Where pages of Stripe's may lead back to; without any, to this server.
    return_hosts: tuple[str, ...] = ()
    body_max_bytes: int = 1_000_000
    body_timeout_s: float = 30.0
    lateness: Lateness = field(default_factory=Lateness)
    now: Callable[[], datetime] = field(default=_utc_now)
    # The one that the gateway of this process has, where there is one.
    live_constraints: LiveConstraints | None = None
    # Without one no secret of a customer is taken.
    sealer: Sealer | None = None
    # Of customers' webhooks.
    webhook_fence: Fence = field(default_factory=Fence)
    # Of customers' own provider addresses: this machine is none of them, in development either.
    provider_fence: Fence = field(default_factory=Fence)

    @cached_property
    def credits(self) -> CreditService:
        """The one implementation of the credits API; the routes only translate."""
        return CreditService(self.pool, self.lanes, stripe=self.stripe, book=self.book, terms=self.terms, now=self.now)

    @cached_property
    def constraints(self) -> LiveConstraints:
        """What was agreed with each organization."""
        return self.live_constraints or LiveConstraints(self.pool, self.changes)

    @cached_property
    def tally(self) -> LocalTally:
        """Quotas and charges for metered work: the library's own, in this process."""
        return LocalTally(self.pool, self.lanes, self.constraints, self.book)

    @cached_property
    def reports(self) -> FewAtATime:
        """Reports of usage, each of which may read a million rows."""
        return FewAtATime(2)

    @cached_property
    def terms(self) -> PurchaseTerms:
        return PurchaseTerms(
            public_url=self.public_url,
            minimum=self.purchase_min,
            maximum=self.purchase_max,
            transfer_to=self.transfer_to,
        )

    @cached_property
    def allowed_return_hosts(self) -> tuple[str, ...]:
        return self.return_hosts or (host_of(self.public_url),)

    @cached_property
    def inbox(self) -> Inbox:
        """Takes what Stripe sends. The supervisor's upkeep does from the same table what could not be done at once."""
        return Inbox(
            self.pool,
            secrets=self.webhook_secrets,
            livemode=None if self.stripe is None else self.stripe.livemode,
            stripe=self.stripe,
        )

    @cached_property
    def accepted_services(self) -> ServiceTokens:
        return ServiceTokens(self.service_tokens)

    async def stop(self) -> None:
        """Wait for what was begun here beside the requests, which are over. Before the pool closes."""
        if "tally" in vars(self):
            await self.tally.stop()


def _of(request: Request) -> ApiDependencies:
    dependencies: ApiDependencies = request.app.state.dependencies
    return dependencies


Dependencies = Annotated[ApiDependencies, Depends(_of)]
