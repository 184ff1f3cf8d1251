"""The batching writer of a process: every reserve, settle, release, deduct and extend goes through here.

Lane = account mod lanes, in every process, so that all that touches an account goes through one lock in one order.
"""

from collections.abc import Sequence
from typing import Final
from uuid import UUID

from tallystick.base.errors import InvalidInput, NotFound, Unavailable
from tallystick.base.money import AMOUNT_MAX_NANO
from tallystick.ledger.account import FIRST_CUSTOMER, Balance, count_lanes
from tallystick.reservations.claim import UNITS_MAX, UNLIMITED, Admitted, AnyClaim, FeatureClaim, Settled
from tallystick.reservations.hold import ClaimsUnknown
from tallystick.reservations.lane import Lane
from tallystick.reservations.lane_connection import connect
from tallystick.reservations.turns import Turns
from tallystick.reservations.usage_record import UsageRecord

LIFE_MAX_S: Final = 7 * 24 * 3600


class Lanes:
    """The writers of the ledger. Each call returns when its operation is on disk.

    The same call with the same id again gets the same answer; the same id with other content raises HoldConflict.
    With the database away for longer than `patience_s`, calls raise Unavailable; those that were under way raise its
    subclass OutcomeUnknown.
    """

    def __init__(self, dsn: str, *, batch_max: int = 512, waiting_max: int = 20_000, patience_s: float = 10.0) -> None:
        self._dsn = dsn
        self._batch_max = batch_max
        self._waiting_max = waiting_max
        self._patience_s = patience_s
        self._turns: Turns | None = None

    async def start(self) -> None:
        """Connect every writer."""
        connection = await connect(self._dsn, "tallystick lanes", self._patience_s)
        try:
            lanes = await count_lanes(connection)
        finally:
            await connection.close()
        self._turns = Turns(
            lanes, self._dsn, batch_max=self._batch_max, waiting_max=self._waiting_max, patience_s=self._patience_s
        )
        await self._turns.start()

    async def stop(self) -> None:
        """Take no more calls, write what waits, and close."""
        if self._turns is not None:
            await self._turns.stop()

    async def reserve(
        self, hold: UUID, account: int, amount: int, *, expires_in_s: int, dispatcher: UUID | None = None
    ) -> None:
        """Set `amount` aside. With a `dispatcher` the hold never expires by itself: that process ends it.

        Raises InsufficientCreditsError, and HoldEnded when this hold was there but may no longer be relied on.
        """
        _check(amount, 0, "amount")
        _check_life(expires_in_s)
        await self._lane(account).append("reserve", (hold, account, amount, expires_in_s, dispatcher))

    async def admit(
        self,
        hold: UUID,
        account: int,
        amount: int,
        claims: Sequence[AnyClaim],
        *,
        expires_in_s: int,
        dispatcher: UUID | None = None,
        counted: bool = False,
    ) -> Admitted:
        """Reserve with limits: set `amount` and the worst case of every claim aside, or nothing.

        `counted` is for uses of features that count from now on, whatever becomes of them: the hold has ended then,
        and `release` alone takes the uses back. Raises QuotaExceeded for the first claim that does not fit,
        InsufficientCreditsError, WrongPeriod, HoldConflict, HoldEnded.
        """
        _check(amount, 0, "amount")
        _check_life(expires_in_s)
        _check_claims(claims, amount, counted=counted)
        entry = (hold, account, amount, expires_in_s, dispatcher, counted)
        admitted: Admitted = await self._lane(account).append("admit", entry, tuple(claims))
        return admitted

    async def settle(self, hold: UUID, account: int, actual: int, usage: UsageRecord | None = None) -> Balance:
        """End the hold with the real charge, even one above it: the account goes down to its floor, and what is
        beyond is posted as receivable. Raises HoldNotFound, HoldEnded, HoldConflict."""
        _check(actual, 0, "actual")
        if usage is not None:
            _check_usage(usage, hold, account, actual)
        try:
            balance: Balance = await self._lane(account).append("end", (hold, account, actual, None), usage)
        except ClaimsUnknown:
            return _balance(await self.settle_claims(hold, account, actual, (), usage))
        return balance

    async def settle_claims(
        self, hold: UUID, account: int, actual: int, units: Sequence[int], usage: UsageRecord | None = None
    ) -> Settled:
        """End an admitted hold with what was really used of each of its claims, in their order; () is as claimed.

        `actual` is the charge beside the meters. What the units beyond allowances cost is added to it, and to the
        charge of the usage record. Raises as settle does.
        """
        _check(actual, 0, "actual")
        for used in units:
            _check_units(used)
        if usage is not None:
            _check_usage(usage, hold, account, actual)
        settled: Settled = await self._lane(account).append("end", (hold, account, actual, tuple(units)), usage)
        return settled

    async def release(self, hold: UUID, account: int, usage: UsageRecord | None = None) -> Balance:
        """End the hold without a charge; its claims are given back. Raises HoldNotFound, HoldEnded."""
        if usage is not None:
            _check_usage(usage, hold, account, 0)
        try:
            balance: Balance = await self._lane(account).append("end", (hold, account, None, None), usage)
        except ClaimsUnknown:
            return _balance(await self._lane(account).append("end", (hold, account, None, ()), usage))
        return balance

    async def deduct(self, hold: UUID, account: int, amount: int) -> Balance:
        """Charge at once what was never held, exactly once per `hold`. Raises InsufficientCreditsError."""
        _check(amount, 1, "amount")
        balance: Balance = await self._lane(account).append("deduct", (hold, account, amount, None, None))
        return balance

    async def extend(self, hold: UUID, account: int, amount: int, *, expires_in_s: int) -> None:
        """Let an open hold hold `amount` in total (never less than it does) and live `expires_in_s` from now on.

        Raises InsufficientCreditsError, HoldNotFound, HoldEnded; the hold stays as it was then.
        """
        _check(amount, 0, "amount")
        _check_life(expires_in_s)
        await self._lane(account).append("extend", (hold, account, amount, expires_in_s, None))

    def _lane(self, account: int) -> Lane:
        if type(account) is not int or account < FIRST_CUSTOMER:
            raise NotFound(f"there is no account {account}")
        if self._turns is None:
            raise Unavailable("the ledger's writers have not been started")
        return self._turns.lane(account)


def _check(amount: int, least: int, field: str) -> None:
    # Not isinstance: a bool is an int too. One bad value here would fail in the middle of everyone's batch.
    if type(amount) is not int or not least <= amount <= AMOUNT_MAX_NANO:
        raise InvalidInput(field, f"must be a whole number of nanocredits from {least} to {AMOUNT_MAX_NANO}")


def _balance(settled: Settled) -> Balance:
    return Balance(settled.posted, settled.held, settled.available)


def _check_claims(claims: Sequence[AnyClaim], amount: int, *, counted: bool) -> None:
    """What the database must never be asked: one bad claim there would fail in the middle of everyone's batch."""
    names = {(type(claim), claim.feature if isinstance(claim, FeatureClaim) else claim.meter) for claim in claims}
    if not claims or len(names) != len(claims):
        raise ValueError("an admission has claims, each of another meter or feature")
    for claim in claims:
        _check_units(claim.units)
        if isinstance(claim, FeatureClaim):
            if claim.units < 1 or not 0 <= (claim.limit or 0) <= UNITS_MAX:
                raise ValueError(f"{claim} cannot be claimed")
        elif counted or not (
            claim.starts_at < claim.ends_at
            and 0 <= claim.allowance <= UNLIMITED
            and 0 <= (claim.cap or 0) <= UNLIMITED
            and 0 <= claim.price <= AMOUNT_MAX_NANO
            and 0 < claim.per <= UNITS_MAX
            and amount + -(-claim.units * claim.price // claim.per) <= AMOUNT_MAX_NANO
        ):
            raise ValueError(f"{claim} cannot be claimed")
    if counted and amount:
        raise ValueError("what counts at once sets no credits aside")


def _check_units(units: int) -> None:
    if type(units) is not int or not 0 <= units <= UNITS_MAX:
        raise InvalidInput("units", f"must be a whole number from 0 to {UNITS_MAX}")


def _check_life(expires_in_s: int) -> None:
    if type(expires_in_s) is not int or not 0 < expires_in_s <= LIFE_MAX_S:
        raise InvalidInput("expires_in_s", f"must be from 1 to {LIFE_MAX_S} seconds")


def _check_usage(usage: UsageRecord, hold: UUID, account: int, charge: int) -> None:
    if usage.id != hold or usage.account != account or usage.charge != charge:
        raise ValueError("a usage record must tell of the hold, the account and the charge that it is settled with")
