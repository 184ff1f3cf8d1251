"""Compile what an organization bought into what a gateway enforces: its constraints document. Pure.

Commercial words (strategies, subscriptions, overrides) end here; no gateway knows them.
"""

from collections.abc import Callable, Iterable
from datetime import datetime, timedelta
from typing import Final

from msgspec import Struct
from msgspec.structs import replace

from tallystick.catalog.plan import AuthMode, Feature, Plan, PlanRates, Strategy
from tallystick.catalog.usage_billing import is_token_meter
from tallystick.constraints.constraints import Constraints, MeterConstraint, PeriodRule
from tallystick.constraints.strategies import custom, flat, included, overage, payg, prepaid
from tallystick.constraints.strategies.terms import Terms
from tallystick.constraints.subscriber import Subscriber

STRATEGIES: Final[dict[Strategy, Callable[[Plan], Terms]]] = {
    "flat": flat.terms,
    "included": included.terms,
    "overage": overage.terms,
    "payg": payg.terms,
    "prepaid": prepaid.terms,
    "custom": custom.terms,
}

_THROTTLED_TO: Final = 6
"""Requests a minute of who is throttled because a payment went back."""

_OWED: Final = (
    "A payment went back after the credits it had paid for were spent, and they are owed. "
    "Buy credits to send requests again: what is owed is taken from them first."
)
_DISPUTED: Final = (
    "A payment for your plan is disputed with your bank. "
    "Withdraw the dispute there, or write to us, to send requests again."
)


def compile_constraints(
    organization: str, account: int, subscriber: Subscriber, features: Iterable[Feature], *, version: int, now: datetime
) -> Constraints:
    """The document of `organization` as of `now`; `features` are all of the catalog's."""
    plan, overrides = subscriber.plan, subscriber.overrides
    terms = STRATEGIES[plan.strategy](plan)
    access = _access(subscriber, now)
    limits = {feature.name: feature.limits.get(plan.tier, 0) for feature in features}
    agreed = {**plan.quotas, **overrides.quotas}
    return Constraints(
        organization=organization,
        account=account,
        version=version,
        plan=None if subscriber.plan_version is None else plan.slug,
        plan_version=subscriber.plan_version,
        strategy=plan.strategy,
        status=subscriber.status,
        access=access.granted,
        access_until=access.until,
        access_reason=access.reason,
        auth_modes=_auth_modes(plan.auth_modes, overrides.metered_enabled),
        charges_models=terms.charges_models,
        meters=_at_our_price(terms.meters, plan),
        period=PeriodRule(anchor=subscriber.anchor, interval=plan.interval),
        tier=plan.tier,
        # A feature that left the catalog is no longer there to be used, whoever agreed on it once.
        quotas={name: agreed.get(name, limit) for name, limit in limits.items()},
        features=plan.features,
        rates=_rates(plan.rates if overrides.rates is None else overrides.rates, subscriber),
        routes=plan.routes,
        credit_limit=terms.credit_limit if overrides.credit_limit is None else overrides.credit_limit,
        overdraft=plan.overdraft,
        default_max_tokens=plan.default_max_tokens,
    )


def _at_our_price(meters: tuple[MeterConstraint, ...], plan: Plan) -> tuple[MeterConstraint, ...]:
    """What Stripe bills is counted and capped here, and costs nothing here. Tokens by provider no gateway claims."""
    elsewhere = {meter.meter for meter in plan.billed_by_stripe}
    return tuple(
        replace(meter, price=0, per=1) if meter.meter in elsewhere else meter
        for meter in meters
        if not is_token_meter(meter.meter)
    )


class _Access(Struct, frozen=True):
    granted: bool
    until: datetime | None = None
    reason: str | None = None


def _access(subscriber: Subscriber, now: datetime) -> _Access:
    name = subscriber.plan.name
    if subscriber.restriction is not None and subscriber.restriction.kind == "freeze":
        return _Access(granted=False, reason=_OWED if subscriber.restriction.because == "debt" else _DISPUTED)
    if subscriber.status == "paused":
        return _Access(granted=False, reason=f"Your subscription to {name} is paused. Resume it to send requests.")
    if subscriber.past_due_since is not None:
        since = subscriber.past_due_since
        reason = f"The payment for {name} is due since {since:%Y-%m-%d}. Pay it to send requests."
        ends_at = since + timedelta(days=subscriber.plan.grace_days)
        granted = now < ends_at and not subscriber.grace_over
        return _Access(granted=granted, until=ends_at if granted else None, reason=reason)
    return _Access(granted=True)


def _rates(rates: PlanRates, subscriber: Subscriber) -> PlanRates:
    if subscriber.restriction is None or subscriber.restriction.kind != "throttle":
        return rates
    return replace(
        rates,
        requests_per_minute=min(rates.requests_per_minute or _THROTTLED_TO, _THROTTLED_TO),
        concurrency=1,
    )


def _auth_modes(modes: tuple[AuthMode, ...], metered_enabled: bool) -> tuple[AuthMode, ...]:
    """The operator's own keys are for those the operator named, one by one: no plan gives them away."""
    own = tuple(mode for mode in modes if mode != "metered")
    return (*own, "metered") if metered_enabled else own
