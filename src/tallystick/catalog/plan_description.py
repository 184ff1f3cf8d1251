"""A plan in the words of a catalog file, field by field, for those who read what publishing changes. Pure."""

from collections.abc import Mapping

from tallystick.base.money import NANO, format_amount, from_minor
from tallystick.catalog.plan import DOLLARS, Plan, PlanMeter


def describe_plan(plan: Plan) -> dict[str, str | None]:
    """None where the plan says nothing."""
    fields: dict[str, str | None] = {
        "name": plan.name,
        "strategy": plan.strategy,
        "price": f"{format_amount(from_minor(plan.amount_minor))} {plan.currency} a {plan.interval}",
        "tier": plan.tier,
    }
    fields |= {f"meters.{meter.meter}": describe_meter(meter) for meter in plan.meters}
    fields |= {"charges_models": "true" if plan.charges_models else "false"}
    fields |= describe_limits("quotas", plan.quotas)
    fields |= {
        f"rates.{name}": str(value)
        for name in ("requests_per_minute", "tokens_per_minute", "concurrency")
        if (value := getattr(plan.rates, name)) is not None
    }
    return fields | {
        "features": " ".join(plan.features) or None,
        "routes": None if plan.routes is None else " ".join(plan.routes),
        "auth_modes": " ".join(plan.auth_modes),
        "credit_limit": format_amount(plan.credit_limit) if plan.credit_limit else None,
        "overdraft": format_amount(plan.overdraft) if plan.overdraft else None,
        "default_max_tokens": None if plan.default_max_tokens is None else str(plan.default_max_tokens),
        "trial_days": str(plan.trial_days) if plan.trial_days else None,
        "grace_days": str(plan.grace_days),
        "default": "true" if plan.default else None,
        "stripe_price": plan.stripe_price,
        "usage_billing": None if plan.usage_billing == "own" else plan.usage_billing,
    }


def describe_limits(field: str, limits: Mapping[str, int | None]) -> dict[str, str]:
    return {f"{field}.{name}": "unlimited" if limit is None else str(limit) for name, limit in limits.items()}


def describe_meter(meter: PlanMeter) -> str:
    """ "100000 included then 0.50 per 1000 up to 200000"; of `dollars` in credits."""
    parts = []
    if meter.allowance is not None:
        parts.append(f"{_units(meter.meter, meter.allowance)} included")
    if meter.price is not None:
        then = "then " if parts else ""
        parts.append(f"{then}{format_amount(meter.price)} per {_units(meter.meter, meter.per)}")
    if meter.cap is not None:
        parts.append(f"up to {_units(meter.meter, meter.cap)}")
    return " ".join(parts)


def _units(meter: str, units: int) -> str:
    # A cent is written as one, a whole credit without its decimals.
    return str(units) if meter != DOLLARS else str(units // NANO) if units % NANO == 0 else format_amount(units)
