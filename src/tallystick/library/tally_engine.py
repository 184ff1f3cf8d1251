"""What a Tallystick does its work with: the same questions, asked of the database or of a server over HTTP."""

from decimal import Decimal
from typing import Protocol

import msgspec

from tallystick.quotas.use import QuotaCheck, TierUsage, Use
from tallystick.reservations.claim import Layer


class HeldCharge(msgspec.Struct, frozen=True, kw_only=True):
    """Metered work that was admitted: its most is set aside until it ends."""

    id: str
    meter: str
    quantity: int
    layer: Layer
    """Who pays: the plan's allowance, a kind of credits, or the customer later; "none" where it costs nothing."""
    amount: Decimal
    """Credits that are held for it."""
    repeated: bool = False


class SettledCharge(msgspec.Struct, frozen=True, kw_only=True):
    """Metered work that has ended, and what it came to, in credits."""

    id: str
    meter: str
    quantity: int
    charged: Decimal
    balance: Decimal
    available: Decimal


class TallyEngine(Protocol):
    """Wherever there is a `user`, an organization's id is taken too."""

    async def tier(self, user: str) -> str: ...

    async def usage(self, user: str) -> TierUsage: ...

    async def check(self, user: str, feature: str, units: int) -> QuotaCheck: ...

    async def use(self, user: str, feature: str, units: int, request_id: str | None) -> Use: ...

    async def give_back(self, user: str, use: str) -> None: ...

    async def reserve(
        self, user: str, meter: str, quantity: int, *, feature: str | None, request_id: str | None, lasts_s: int
    ) -> HeldCharge: ...

    async def settle(self, user: str, charge: str, quantity: int | None) -> SettledCharge: ...

    async def release(self, user: str, charge: str) -> None: ...
