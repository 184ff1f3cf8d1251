"""The ledger as a few dictionaries: what it must do, one operation after the other, without any cleverness."""

from dataclasses import dataclass, field
from datetime import datetime
from uuid import UUID


class Refused(Exception):
    """The operation is refused: 'insufficient', 'conflict', 'ended' or 'not_found'."""

    def __init__(self, code: str, available: int | None = None) -> None:
        super().__init__(code)
        self.code = code
        self.available = available


@dataclass
class Account:
    floor: int
    overdraft: int
    posted: int = 0
    held: int = 0

    @property
    def available(self) -> int:
        return self.posted - self.held - self.floor - self.overdraft


@dataclass
class Hold:
    account: int
    amount: int
    state: str = "open"
    actual: int | None = None
    deducted: bool = False
    shortfall: int = 0


@dataclass
class Lot:
    id: UUID
    account: int
    kind: str
    remaining: int
    priority: int
    expires_at: datetime | None
    order: int
    due: bool = False

    def burns(self) -> tuple[object, ...]:
        expiry = (1, 0.0) if self.expires_at is None else (0, self.expires_at.timestamp())
        return self.priority, self.kind != "promotional", expiry, self.order


@dataclass
class Grant:
    account: int
    amount: int
    kind: str
    priority: int


@dataclass
class Books:
    accounts: dict[int, Account] = field(default_factory=dict)
    holds: dict[UUID, Hold] = field(default_factory=dict)
    lots: list[Lot] = field(default_factory=list)
    grants: dict[UUID, Grant] = field(default_factory=dict)
    reversed: set[UUID] = field(default_factory=set)
    receivable: int = 0

    def open_account(self, account: int, floor: int, overdraft: int) -> None:
        self.accounts[account] = Account(floor, overdraft)

    def give(
        self, operation: UUID, account: int, amount: int, kind: str, priority: int, expires_at: datetime | None
    ) -> None:
        grant = Grant(account, amount, kind, priority)
        if operation in self.grants:
            if self.grants[operation] != grant:
                raise Refused("conflict")
            return
        self.grants[operation] = grant
        self.accounts[account].posted += amount
        self.lots.append(Lot(operation, account, kind, amount, priority, expires_at, len(self.lots)))
        self._burn(account)

    def reserve(self, hold: UUID, account: int, amount: int) -> None:
        known = self.holds.get(hold)
        if known is not None:
            if known.account != account or known.deducted:
                raise Refused("conflict")
            if known.state != "open":
                raise Refused("ended")
            if known.amount != amount:
                raise Refused("conflict")
            return
        # What sets nothing aside is not refused for what is owed.
        if amount and amount > self.accounts[account].available:
            raise Refused("insufficient", self.accounts[account].available)
        self.accounts[account].held += amount
        self.holds[hold] = Hold(account, amount)

    def settle(self, hold: UUID, account: int, actual: int) -> None:
        known = self._hold_of(hold, account)
        if known.state == "settled" and known.actual == actual:
            return
        if known.state == "settled":
            raise Refused("conflict")
        if known.state != "open":
            raise Refused("ended")
        owner = self.accounts[account]
        owner.held -= known.amount
        charge = min(actual, owner.posted - owner.held - owner.floor)
        owner.posted -= charge
        known.state, known.actual, known.shortfall = "settled", actual, actual - charge
        self.receivable += known.shortfall
        self._burn(account)

    def release(self, hold: UUID, account: int) -> None:
        known = self._hold_of(hold, account)
        if known.state == "released":
            return
        if known.state != "open":
            raise Refused("ended")
        self._end(known, "released")

    def expire(self, hold: UUID) -> None:
        self._end(self.holds[hold], "expired")

    def extend(self, hold: UUID, account: int, amount: int) -> None:
        known = self._hold_of(hold, account)
        if known.state != "open":
            raise Refused("ended")
        more = max(amount - known.amount, 0)
        if more and more > self.accounts[account].available:
            raise Refused("insufficient", self.accounts[account].available)
        self.accounts[account].held += more
        known.amount += more

    def deduct(self, hold: UUID, account: int, amount: int) -> None:
        known = self.holds.get(hold)
        if known is not None:
            if (known.account, known.amount, known.deducted) != (account, amount, True):
                raise Refused("conflict")
            return
        if amount > self.accounts[account].available:
            raise Refused("insufficient", self.accounts[account].available)
        self.accounts[account].posted -= amount
        self.holds[hold] = Hold(account, amount, "settled", amount, deducted=True)
        self._burn(account)

    def reverse(self, original: UUID) -> None:
        if original in self.reversed:
            return
        if original in self.grants:
            self._take_back(original)
        else:
            hold = self.holds.get(original)
            if hold is None or not hold.actual:
                raise Refused("not_found")
            self._give_back(original, hold)
        self.reversed.add(original)

    def expire_lots(self, account: int) -> None:
        owner = self.accounts[account]
        due = [lot for lot in self._lots_of(account) if lot.due]
        expired = min(sum(lot.remaining for lot in due), max(owner.posted - owner.held, 0))
        owner.posted -= expired
        for lot in due:
            taken = min(lot.remaining, expired)
            lot.remaining -= taken
            expired -= taken

    def remaining(self, account: int) -> list[tuple[UUID, int]]:
        return [(lot.id, lot.remaining) for lot in self._lots_of(account) if lot.remaining]

    def _take_back(self, original: UUID) -> None:
        grant = self.grants[original]
        owner = self.accounts[grant.account]
        if owner.posted - owner.held - grant.amount < owner.floor:
            raise Refused("insufficient", owner.posted - owner.held - owner.floor)
        owner.posted -= grant.amount
        (lot,) = (lot for lot in self.lots if lot.id == original)
        lot.remaining -= min(lot.remaining, grant.amount)
        self._burn(grant.account)

    def _give_back(self, original: UUID, hold: Hold) -> None:
        charged = (hold.actual or 0) - hold.shortfall
        self.receivable -= hold.shortfall
        self.accounts[hold.account].posted += charged
        if charged:
            self.lots.append(Lot(original, hold.account, "restored", charged, 0, None, len(self.lots)))
            self._burn(hold.account)

    def _hold_of(self, hold: UUID, account: int) -> Hold:
        known = self.holds.get(hold)
        if known is None or known.account != account:
            raise Refused("not_found")
        return known

    def _end(self, hold: Hold, state: str) -> None:
        hold.state = state
        self.accounts[hold.account].held -= hold.amount

    def _lots_of(self, account: int) -> list[Lot]:
        return sorted((lot for lot in self.lots if lot.account == account), key=Lot.burns)

    def _burn(self, account: int) -> None:
        """At once, where the real one waits until somebody looks."""
        lots = self._lots_of(account)
        burn = sum(lot.remaining for lot in lots) - max(self.accounts[account].posted, 0)
        for lot in lots:
            taken = min(lot.remaining, max(burn, 0))
            lot.remaining -= taken
            burn -= taken
