"""The batching writer of a process: every reserve, settle, release, deduct and extend goes through here.

Lane = account mod lanes, in every process, so that all that touches an account goes through one lock in one order.
"""

from typing import Final
from uuid import UUID

from tallystick.base.errors import InvalidInput, NotFound
from tallystick.base.money import AMOUNT_MAX_NANO
from tallystick.ledger.account import FIRST_CUSTOMER, Balance, count_lanes
from tallystick.reservations.lane import Lane, connect
from tallystick.reservations.usage_record import UsageRecord

LIFE_MAX_S: Final = 7 * 24 * 3600


class Lanes:
    """One writer per lane. Each call returns when its operation is on disk.

    The same call with the same id again gets the same answer; the same id with other content raises HoldConflict.
    With the database away for longer than `patience_s`, calls raise Unavailable; those that were under way raise its
    subclass OutcomeUnknown.
    """

    def __init__(self, dsn: str, *, batch_max: int = 512, waiting_max: int = 20_000, patience_s: float = 10.0) -> None:
        self._dsn = dsn
        self._batch_max = batch_max
        self._waiting_max = waiting_max
        self._patience_s = patience_s
        self._lanes: list[Lane] = []

    async def start(self) -> None:
        """Connect every lane."""
        connection = await connect(self._dsn, "tallystick lanes", self._patience_s)
        try:
            lanes = await count_lanes(connection)
        finally:
            await connection.close()
        self._lanes = [
            Lane(
                number,
                lanes,
                self._dsn,
                batch_max=self._batch_max,
                waiting_max=self._waiting_max,
                patience_s=self._patience_s,
            )
            for number in range(lanes)
        ]
        for lane in self._lanes:
            await lane.start()

    async def stop(self) -> None:
        """Take no more calls, write what waits, and close."""
        for lane in self._lanes:
            await lane.stop()

    async def reserve(
        self, hold: UUID, account: int, amount: int, *, expires_in_s: int, dispatcher: UUID | None = None
    ) -> None:
        """Set `amount` aside. With a `dispatcher` the hold never expires by itself: that process ends it.

        Raises InsufficientCreditsError, and HoldEnded when this hold was there but may no longer be relied on.
        """
        _check(amount, 0, "amount")
        _check_life(expires_in_s)
        await self._lane(account).append("reserve", hold, account, amount, expires_in_s, dispatcher)

    async def settle(self, hold: UUID, account: int, actual: int, usage: UsageRecord | None = None) -> Balance:
        """End the hold with the real charge, even one above it: the account goes down to its floor, and what is
        beyond is posted as receivable. Raises HoldNotFound, HoldEnded, HoldConflict."""
        _check(actual, 0, "actual")
        if usage is not None:
            _check_usage(usage, hold, account, actual)
        balance: Balance = await self._lane(account).append("end", hold, account, actual, 0, usage)
        return balance

    async def release(self, hold: UUID, account: int, usage: UsageRecord | None = None) -> Balance:
        """End the hold without a charge. Raises HoldNotFound, HoldEnded."""
        if usage is not None:
            _check_usage(usage, hold, account, 0)
        balance: Balance = await self._lane(account).append("end", hold, account, None, 0, usage)
        return balance

    async def deduct(self, hold: UUID, account: int, amount: int) -> Balance:
        """Charge at once what was never held, exactly once per `hold`. Raises InsufficientCreditsError."""
        _check(amount, 1, "amount")
        balance: Balance = await self._lane(account).append("deduct", hold, account, amount)
        return balance

    async def extend(self, hold: UUID, account: int, amount: int, *, expires_in_s: int) -> None:
        """Let an open hold hold `amount` in total (never less than it does) and live `expires_in_s` from now on.

        Raises InsufficientCreditsError, HoldNotFound, HoldEnded; the hold stays as it was then.
        """
        _check(amount, 0, "amount")
        _check_life(expires_in_s)
        await self._lane(account).append("extend", hold, account, amount, expires_in_s)

    def _lane(self, account: int) -> Lane:
        if type(account) is not int or account < FIRST_CUSTOMER:
            raise NotFound(f"there is no account {account}")
        return self._lanes[account % len(self._lanes)]


def _check(amount: int, least: int, field: str) -> None:
    # Not isinstance: a bool is an int too. One bad value here would fail in the middle of everyone's batch.
    if type(amount) is not int or not least <= amount <= AMOUNT_MAX_NANO:
        raise InvalidInput(field, f"must be a whole number of nanocredits from {least} to {AMOUNT_MAX_NANO}")


def _check_life(expires_in_s: int) -> None:
    if type(expires_in_s) is not int or not 0 < expires_in_s <= LIFE_MAX_S:
        raise InvalidInput("expires_in_s", f"must be from 1 to {LIFE_MAX_S} seconds")


def _check_usage(usage: UsageRecord, hold: UUID, account: int, charge: int) -> None:
    if usage.id != hold or usage.account != account or usage.charge != charge:
        raise ValueError("a usage record must tell of the hold, the account and the charge that it is settled with")
