"""What each strategy needs of a plan and what it has no place for, so that no plan sells what its author did not mean.

Pure. A strategy is a promise in one word; a plan that says more than the word keeps is refused.
"""

from collections.abc import Callable, Iterator
from typing import Final

from tallystick.catalog.plan import DOLLARS, Plan, Strategy

# Who pays for a model's price: the customer, or the plan. Where the author decides, this is the default.
_CHARGES_MODELS: Final[dict[Strategy, bool]] = {
    "flat": False,
    "included": False,
    "overage": False,
    "payg": True,
    "prepaid": True,
    "custom": True,
}


def charges_models(strategy: Strategy, written: bool | None) -> bool:
    return _CHARGES_MODELS[strategy] if written is None else written


def strategy_problems(plan: Plan, *, written: bool | None) -> list[str]:
    """What this plan's strategy refuses; `written` is the file's own `charges_models`."""
    return [*_RULES[plan.strategy](plan), *_of_models(plan, written)]


def _flat(plan: Plan) -> Iterator[str]:
    for meter in plan.meters:
        if meter.allowance is not None or meter.price is not None:
            yield f"meter {meter.meter}: a flat plan has caps only, no allowance and no overage"
    yield from _no_credit(plan)


def _included(plan: Plan) -> Iterator[str]:
    yield from _some_meter(plan)
    for meter in plan.meters:
        if meter.allowance is None:
            yield f"meter {meter.meter}: an included plan needs an allowance"
        if meter.cap is not None or meter.price is not None:
            yield f"meter {meter.meter}: an included plan ends at its allowance; it has no cap and no overage"
    yield from _no_credit(plan)


def _overage(plan: Plan) -> Iterator[str]:
    yield from _some_meter(plan)
    for meter in plan.meters:
        if meter.allowance is None:
            yield f"meter {meter.meter}: an overage plan needs an allowance"
        if meter.price is None:
            yield f"meter {meter.meter}: an overage plan needs an overage = {{ price, per }}"
    yield from _needs_credit(plan)


def _payg(plan: Plan) -> Iterator[str]:
    for meter in plan.meters:
        if meter.allowance is not None:
            yield f"meter {meter.meter}: a payg plan bills every unit; it has no allowance"
    if not plan.charges_models and all(meter.price is None for meter in plan.meters):
        yield "charges_models = false leaves nothing to bill; price a meter with an overage"
    yield from _needs_credit(plan)


def _prepaid(plan: Plan) -> Iterator[str]:
    for meter in plan.meters:
        if meter.allowance is not None:
            yield f"meter {meter.meter}: a prepaid plan includes nothing; it has no allowance"
    if plan.credit_limit:
        yield "credit_limit: a prepaid plan gives no credit; use payg, overage or custom"


def _custom(_plan: Plan) -> Iterator[str]:
    yield from ()


_RULES: Final[dict[Strategy, Callable[[Plan], Iterator[str]]]] = {
    "flat": _flat,
    "included": _included,
    "overage": _overage,
    "payg": _payg,
    "prepaid": _prepaid,
    "custom": _custom,
}


def _of_models(plan: Plan, written: bool | None) -> Iterator[str]:
    if plan.strategy == "custom" and written is None:
        yield "charges_models must say whether models are charged by the price book (true) or paid by the plan (false)"
    if plan.strategy not in ("custom", "payg") and written is not None:
        yield f"charges_models is decided by the strategy {plan.strategy}; only payg and custom may write it"
    if plan.charges_models:
        for meter in plan.meters:
            if meter.meter == DOLLARS and meter.price is not None:
                yield f"meter {DOLLARS}: an overage would charge models twice, for the price book does already"
            if meter.meter == DOLLARS and meter.allowance is not None:
                yield f"meter {DOLLARS}: an allowance covers nothing unless charges_models = false"


def _some_meter(plan: Plan) -> Iterator[str]:
    if not plan.meters:
        yield f"{'an' if plan.strategy[0] in 'aeiou' else 'a'} {plan.strategy} plan needs a [[plan.meters]]"


def _needs_credit(plan: Plan) -> Iterator[str]:
    # What Stripe bills is never owed here.
    if not plan.credit_limit and (plan.usage_billing == "own" or plan.charges_models):
        yield f"credit_limit must say what may be owed before a request is refused, as {plan.strategy} is billed later"


def _no_credit(plan: Plan) -> Iterator[str]:
    if plan.credit_limit:
        yield f"credit_limit: {plan.strategy} plans sell nothing beyond their price"
