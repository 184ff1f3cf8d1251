"""One request against a constraints document: what it claims, and who pays for it or refuses it. Pure.

`claims` is what a gateway does before every request. `decide` is the whole waterfall in one place, given the counters:
what the database does in one statement for many requests at once must always come to the same.
"""

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Final, Literal

from msgspec import Struct

from tallystick.catalog.plan import DOLLARS, AuthMode
from tallystick.constraints.constraints import Constraints, MeterConstraint
from tallystick.constraints.period import Period, period_at

WINDOW: Final = timedelta(days=30)
"""A use of a feature counts until exactly so long after it happened."""

Layer = Literal["access", "quota", "included", "promotional", "purchased", "overage", "credits"]


class Request(Struct, frozen=True, kw_only=True):
    """The most that a request can come to."""

    amount: int = 0
    """Nanocredits of the price book, for what models it can use."""
    units: Mapping[str, int] = {}
    """By meter; `dollars` is added here."""
    features: Mapping[str, int] = {}
    """Uses, by feature."""
    route: str | None = None
    auth_mode: AuthMode = "credits"


class MeterClaim(Struct, frozen=True, kw_only=True, gc=False):
    constraint: MeterConstraint
    units: int
    period: Period


class FeatureClaim(Struct, frozen=True, kw_only=True, gc=False):
    feature: str
    units: int
    limit: int | None


class Claims(Struct, frozen=True, kw_only=True):
    """What a request needs to be admitted: all of it, or it is refused."""

    features: tuple[FeatureClaim, ...]
    meters: tuple[MeterClaim, ...]
    amount: int
    """Nanocredits for models; what lies beyond allowances comes on top."""


class Use(Struct, frozen=True, gc=False):
    """Of a feature."""

    at: datetime
    units: int


class Counters(Struct, frozen=True, kw_only=True):
    """What was used before: of meters in the period that is now (open holds included), of features at any time."""

    meters: Mapping[str, int] = {}
    features: Mapping[str, Sequence[Use]] = {}


class Balance(Struct, frozen=True, kw_only=True):
    """Nanocredits that no open hold has set aside; `purchased` is below zero where something is owed."""

    promotional: int = 0
    purchased: int = 0


class Verdict(Struct, frozen=True, kw_only=True):
    """Who pays, or who refuses and when to come back."""

    admitted: bool
    layer: Layer
    name: str | None = None
    """The feature or meter that decided; "credits" or "credit_limit" for money; the rule where access is refused."""
    limit: int | None = None
    used: int | None = None
    """With this request where it was admitted, without where not."""
    retry_at: datetime | None = None
    """None where waiting does not help."""
    amount: int = 0
    """Nanocredits set aside, the most that can lie beyond allowances included."""
    message: str | None = None

    @property
    def remaining(self) -> int | None:
        return None if self.limit is None or self.used is None else max(0, self.limit - self.used)


def claims(constraints: Constraints, request: Request, now: datetime) -> Claims | Verdict:
    """What `request` claims, or the refusal of its access, its route or its way to pay."""
    refusal = _refused_access(constraints, request, now)
    if refusal is not None:
        return refusal
    # Whoever brings a key pays the provider, so that nothing of the price book is charged, nor counted in dollars.
    amount = 0 if request.auth_mode == "byok" else request.amount
    units = {**request.units, DOLLARS: request.units.get(DOLLARS, 0) + amount} if amount else request.units
    return Claims(
        features=tuple(
            # A feature that no document knows is one that nobody has.
            FeatureClaim(feature=name, units=uses, limit=constraints.quotas.get(name, 0))
            for name, uses in request.features.items()
        ),
        meters=_meter_claims(constraints, units, now) if constraints.meters else (),
        amount=amount if constraints.charges_models else 0,
    )


def _meter_claims(constraints: Constraints, units: Mapping[str, int], now: datetime) -> tuple[MeterClaim, ...]:
    # Asked of the calendar only here: it costs a request more than all else on this page.
    period = period_at(constraints.period, now)
    return tuple(
        MeterClaim(constraint=meter, units=units[meter.meter], period=period)
        for meter in constraints.meters
        if meter.meter in units
    )


def decide(constraints: Constraints, counters: Counters, balance: Balance, request: Request, now: datetime) -> Verdict:
    """access -> feature quota -> included allowance -> promotional -> purchased -> overage -> deny.

    Rates are not here: they are kept by whoever receives the requests.
    """
    wanted = claims(constraints, request, now)
    if isinstance(wanted, Verdict):
        return wanted
    for use in wanted.features:
        uses = counters.features.get(use.feature, ())
        if use.limit is not None and used_in_window(uses, now) + use.units > use.limit:
            return _used_up(use, use.limit, uses, now)
    due = wanted.amount
    for meter in wanted.meters:
        before = counters.meters.get(meter.constraint.meter, 0)
        if meter.constraint.cap is not None and before + meter.units > meter.constraint.cap:
            return _capped(meter, meter.constraint.cap, before)
        due += price_between(meter.constraint, before, before + meter.units)
    if due == 0:
        return _included(wanted.meters, counters)
    return _paid(due, balance, constraints.credit_limit)


def price_between(constraint: MeterConstraint, before: int, after: int) -> int:
    """What going from `before` to `after` used units costs: the prices of all steps of a period make up exactly the
    price of the whole, in whatever order they are taken."""
    return _price(constraint, _beyond(constraint, after)) - _price(constraint, _beyond(constraint, before))


def used_in_window(uses: Sequence[Use], now: datetime) -> int:
    return sum(use.units for use in uses if use.at > now - WINDOW)


def _beyond(constraint: MeterConstraint, units: int) -> int:
    return max(0, units - constraint.allowance)


def _price(constraint: MeterConstraint, units: int) -> int:
    return -(-units * constraint.price // constraint.per)


def _refused_access(constraints: Constraints, request: Request, now: datetime) -> Verdict | None:
    ended = constraints.access_until is not None and now >= constraints.access_until
    if not constraints.access or ended:
        message = constraints.access_reason or "Your organization has no access."
        return Verdict(admitted=False, layer="access", name="status", message=message)
    if request.auth_mode not in constraints.auth_modes:
        message = f"Your plan does not allow the auth mode {request.auth_mode!r}."
        return Verdict(admitted=False, layer="access", name="auth_mode", message=message)
    if request.route is not None and constraints.routes is not None and request.route not in constraints.routes:
        message = f"Your plan does not include the model {request.route!r}."
        return Verdict(admitted=False, layer="access", name="route", message=message)
    return None


def _used_up(claim: FeatureClaim, limit: int, uses: Sequence[Use], now: datetime) -> Verdict:
    used = used_in_window(uses, now)
    retry_at = None
    left = used
    for use in sorted(uses, key=lambda use: use.at):
        if use.at > now - WINDOW and retry_at is None:
            left -= use.units
            retry_at = use.at + WINDOW if left + claim.units <= limit else None
    return Verdict(admitted=False, layer="quota", name=claim.feature, limit=limit, used=used, retry_at=retry_at)


def _capped(claim: MeterClaim, cap: int, used: int) -> Verdict:
    # With nothing sold below the cap beyond what is included, it is the allowance that has ended.
    layer: Layer = "overage" if claim.constraint.price else "included"
    retry_at = claim.period.ends_at if claim.units <= cap else None
    return Verdict(admitted=False, layer=layer, name=claim.constraint.meter, limit=cap, used=used, retry_at=retry_at)


def _included(meters: Sequence[MeterClaim], counters: Counters) -> Verdict:
    """Nothing more is due: the plan pays. Of several allowances the one that ends first is named."""
    after = [(claim.constraint, counters.meters.get(claim.constraint.meter, 0) + claim.units) for claim in meters]
    if not after:
        return Verdict(admitted=True, layer="included")
    tightest, used = min(after, key=lambda pair: pair[0].allowance - pair[1])
    return Verdict(admitted=True, layer="included", name=tightest.meter, limit=tightest.allowance, used=used)


def _paid(due: int, balance: Balance, credit_limit: int) -> Verdict:
    credits_ = balance.promotional + balance.purchased
    if due <= credits_:
        layer: Layer = "promotional" if due <= balance.promotional else "purchased"
        return Verdict(admitted=True, layer=layer, name="credits", limit=credits_, used=due, amount=due)
    if due <= credits_ + credit_limit:
        owed = due - credits_
        return Verdict(admitted=True, layer="overage", name="credit_limit", limit=credit_limit, used=owed, amount=due)
    if credit_limit:
        owed = max(0, -credits_)
        return Verdict(admitted=False, layer="overage", name="credit_limit", limit=credit_limit, used=owed)
    return Verdict(admitted=False, layer="credits", name="credits", limit=max(0, credits_), used=0)
