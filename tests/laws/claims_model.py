"""The ledger with claims as a few dictionaries: each request decided by the pure waterfall, one after the other."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from uuid import UUID

from msgspec import structs

from tallystick.catalog.plan import DOLLARS, PlanRates
from tallystick.constraints import verdict
from tallystick.constraints.constraints import Constraints, MeterConstraint, PeriodRule
from tallystick.constraints.verdict import Counters, Request, Use, Verdict, decide, price_between
from tallystick.reservations.claim import AnyClaim, Claim, FeatureClaim
from tests.laws.model import Account, Books, Hold, Refused

PERIOD = PeriodRule(anchor=datetime.now(UTC) - timedelta(days=10), interval="month")


@dataclass
class Plan:
    """What an account may use now; a change of it changes no request that was admitted before."""

    meters: tuple[MeterConstraint, ...]
    quotas: dict[str, int | None]

    def document(self, account: int, owner: Account) -> Constraints:
        return Constraints(
            organization="any", account=account, version=1, plan=None, plan_version=None, strategy="custom",
            status="active", access=True, access_reason=None, auth_modes=("credits",), charges_models=True,
            meters=self.meters, period=PERIOD, tier="free", quotas=self.quotas, features=(), rates=PlanRates(),
            routes=None, credit_limit=-owner.floor - owner.overdraft, overdraft=owner.overdraft,
            default_max_tokens=None,
        )  # fmt: skip


@dataclass
class Taken:
    """What a hold claimed, under which rules."""

    amount: int
    meters: list[tuple[MeterConstraint, int]]
    features: dict[str, int]
    counted: bool
    claims: tuple[AnyClaim, ...]
    used: list[int] = field(default_factory=list)
    overage: int = 0
    # By meter: what was set aside for units beyond the allowance.
    aside: dict[str, int] = field(default_factory=dict)


@dataclass
class Counter:
    """Of a meter: the price in force is that of the request that was admitted last."""

    rule: MeterConstraint
    used: int = 0
    held: int = 0
    pending: int = 0
    # Units are held at more than one price; what the holds that have just ended had set aside.
    mixed: bool = False
    ended_aside: int = 0

    def is_mixed_with(self, rule: MeterConstraint) -> bool:
        """Whether something is held at another price than this."""
        same = (rule.allowance, rule.price, rule.per) == (self.rule.allowance, self.rule.price, self.rule.per)
        return self.held > 0 and (self.mixed or not same)

    def need(self) -> int:
        """What the units held can still cost."""
        return price_between(self.rule, self.used, self.used + self.held)


@dataclass
class Window:
    hold: UUID
    units: int
    at: datetime


@dataclass
class ClaimBooks(Books):
    plans: dict[int, Plan] = field(default_factory=dict)
    counters: dict[tuple[int, str], Counter] = field(default_factory=dict)
    windows: dict[tuple[int, str], list[Window]] = field(default_factory=dict)
    taken: dict[UUID, Taken] = field(default_factory=dict)

    def wanted(self, account: int, amount: int, units: Mapping[str, int], features: Mapping[str, int]) -> Taken:
        """What a gateway would ask for, from the plan as it is now."""
        request = Request(amount=amount, units=units, features=features)
        found = verdict.claims(
            self.plans[account].document(account, self.accounts[account]), request, datetime.now(UTC)
        )
        assert not isinstance(found, Verdict)
        uses = tuple(FeatureClaim(feature=use.feature, units=use.units, limit=use.limit) for use in found.features)
        meters = tuple(
            Claim(
                meter=claim.constraint.meter, units=claim.units, starts_at=claim.period.starts_at,
                ends_at=claim.period.ends_at, allowance=claim.constraint.allowance, cap=claim.constraint.cap,
                price=claim.constraint.price, per=claim.constraint.per,
            )
            for claim in found.meters
        )  # fmt: skip
        return Taken(
            amount, [(claim.constraint, claim.units) for claim in found.meters], dict(features), False, (*uses, *meters)
        )

    def decide(self, account: int, wanted: Taken) -> Verdict:
        """The pure waterfall over the counters as they stand."""
        owner, plan = self.accounts[account], self.plans[account]
        rules = tuple(rule for rule, _ in wanted.meters)
        document = Plan(rules, plan.quotas).document(account, owner)
        standing = Counters(
            meters={rule.meter: self.standing(account, rule.meter) for rule in rules},
            features={
                name: [Use(one.at, one.units) for one in self.windows.get((account, name), ())]
                for name in wanted.features
            },
        )
        # The waterfall adds the amount to the dollars by itself.
        units = {rule.meter: units - (wanted.amount if rule.meter == DOLLARS else 0) for rule, units in wanted.meters}
        request = Request(amount=wanted.amount, units=units, features=wanted.features)
        limited = decide(document, standing, verdict.Balance(purchased=10**30), request, datetime.now(UTC))
        if not limited.admitted:
            return limited
        promotional = self._promotional(account)
        balance = verdict.Balance(promotional=promotional, purchased=owner.posted - owner.held - promotional)
        due = wanted.amount + sum(self.lack(account, rule, units) for rule, units in wanted.meters)
        paid = decide(
            Plan((), plan.quotas).document(account, owner), Counters(), balance, Request(amount=max(0, due)),
            datetime.now(UTC),
        )  # fmt: skip
        return structs.replace(paid, amount=due)

    def lack(self, account: int, rule: MeterConstraint, units: int) -> int:
        """What must be set aside on top of what is, for all that is held of a meter and `units` more; for these alone
        where something is held at another price."""
        counter = self.counters.get((account, rule.meter), Counter(rule))
        if counter.is_mixed_with(rule):
            standing = counter.used + counter.held
            return price_between(rule, standing, standing + units)
        return price_between(rule, counter.used, counter.used + counter.held + units) - counter.pending

    def is_open(self, hold: UUID) -> bool:
        return self.holds[hold].state == "open"

    def standing(self, account: int, meter: str) -> int:
        counter = self.counters.get((account, meter))
        return counter.used + counter.held if counter else 0

    def in_window(self, account: int, feature: str) -> int:
        since = datetime.now(UTC) - verdict.WINDOW
        return sum(one.units for one in self.windows.get((account, feature), ()) if one.at > since)

    def taken_after(self, account: int, wanted: Taken) -> tuple[int, ...]:
        """What stands on each counter, in the order of the claims."""
        return (
            *(self.in_window(account, name) for name in wanted.features),
            *(self.standing(account, rule.meter) for rule, _ in wanted.meters),
        )

    def admit(self, hold: UUID, account: int, wanted: Taken, counted: bool) -> Verdict | None:
        """None is that it was admitted before; a refusal has changed nothing."""
        known = self.holds.get(hold)
        if known is not None:
            self._check_again(hold, known, account, wanted, counted)
            return None
        verdict_ = self.decide(account, wanted)
        if not verdict_.admitted:
            return verdict_
        wanted.counted = counted
        owner = self.accounts[account]
        owner.held += verdict_.amount
        self.holds[hold] = Hold(account, wanted.amount)
        if counted:
            self.holds[hold].state, self.holds[hold].actual = "settled", 0
        self.taken[hold] = wanted
        for rule, units in wanted.meters:
            counter = self.counters.setdefault((account, rule.meter), Counter(rule))
            wanted.aside[rule.meter] = self.lack(account, rule, units)
            counter.mixed = counter.is_mixed_with(rule)
            counter.rule = rule
            counter.held += units
            counter.pending += wanted.aside[rule.meter]
        for name, units in wanted.features.items():
            self.windows.setdefault((account, name), []).append(Window(hold, units, datetime.now(UTC)))
        return verdict_

    def price(self, hold: UUID, account: int, actual: int, units: Sequence[int]) -> int:
        """End the claims of a hold; returns what the hold is charged in all. `units` stand for its meters."""
        known, taken = self.holds.get(hold), self.taken.get(hold)
        if known is None or taken is None or known.account != account:
            return actual
        used = list(units) if units else [claimed for _, claimed in taken.meters]
        if known.state == "settled" and not known.deducted:
            return actual + taken.overage if used == taken.used or taken.counted else -1
        if known.state != "open":
            return actual
        for (rule, claimed), really in zip(taken.meters, used, strict=True):
            counter = self.counters[account, rule.meter]
            taken.overage += price_between(rule, counter.used, counter.used + really)
            counter.used += really
            counter.held -= claimed
            counter.ended_aside += taken.aside[rule.meter]
        taken.used = used
        return actual + taken.overage

    def free(self, account: int, meter: str) -> int:
        """After ends: what was set aside for a meter and is needed no more."""
        counter = self.counters[account, meter]
        ended, counter.ended_aside = counter.ended_aside, 0
        if counter.mixed:
            counter.mixed = counter.held > 0
            freed = min(counter.pending, ended) if counter.held else counter.pending
        else:
            freed = counter.pending - min(counter.pending, counter.need())
        counter.pending -= freed
        return freed

    def release(self, hold: UUID, account: int) -> None:
        known, taken = self.holds.get(hold), self.taken.get(hold)
        mine = known is not None and known.account == account
        if known is not None and mine and taken is not None and taken.counted and known.state == "settled":
            known.state, known.actual = "released", None
        super().release(hold, account)

    def give_back(self, hold: UUID, account: int) -> None:
        """The claims of a hold that is about to be released."""
        known, taken = self.holds.get(hold), self.taken.get(hold)
        if known is None or known.account != account or taken is None:
            return
        if known.state != "open" and not (taken.counted and known.state == "settled"):
            return
        if not taken.counted:
            for rule, units in taken.meters:
                self.counters[account, rule.meter].held -= units
                self.counters[account, rule.meter].ended_aside += taken.aside[rule.meter]
        for name in taken.features:
            self.windows[account, name] = [one for one in self.windows[account, name] if one.hold != hold]

    def expire(self, hold: UUID) -> None:
        if hold in self.taken:
            account = self.holds[hold].account
            self.give_back(hold, account)
            for rule, _ in self.taken[hold].meters:
                self.accounts[account].held -= self.free(account, rule.meter)
        super().expire(hold)

    def move_time(self, by: timedelta) -> None:
        for window in self.windows.values():
            for one in window:
                one.at -= by

    def _check_again(self, hold: UUID, known: Hold, account: int, wanted: Taken, counted: bool) -> None:
        taken = self.taken.get(hold)
        if known.account != account or taken is None:
            raise Refused("conflict")
        mine = [(rule.meter, units) for rule, units in taken.meters]
        if mine != [(rule.meter, units) for rule, units in wanted.meters] or taken.features != wanted.features:
            raise Refused("conflict")
        if taken.counted != counted:
            raise Refused("conflict")
        if known.state != "open" and not (counted and known.state == "settled"):
            raise Refused("ended")
        if known.amount != wanted.amount:
            raise Refused("conflict")

    def _promotional(self, account: int) -> int:
        owner = self.accounts[account]
        lots = self._lots_of(account)
        backing = sum(lot.remaining for lot in lots if lot.kind != "promotional")
        given = sum(lot.remaining for lot in lots if lot.kind == "promotional")
        return min(given, max(0, owner.posted - owner.held - backing))
