"""Plans, meters and features of a catalog file to their documents; all that is wrong with one is told at once. Pure.

What only the whole file can tell (is there such a meter, such a route) is asked in `references`.
"""

import re
from collections.abc import Iterable, Mapping
from decimal import Decimal
from typing import Final

from tallystick.base.errors import InvalidAmount
from tallystick.base.money import parse_amount, to_minor
from tallystick.catalog.entries import CURRENCY, SLUG, TOKENS_MAX, other_currency
from tallystick.catalog.errors import CatalogError
from tallystick.catalog.meters import BUILT_IN
from tallystick.catalog.plan import CONCURRENCY, Feature, Meter, Plan, PlanMeter, PlanRates
from tallystick.catalog.plan_meters import COUNT_MAX, read_plan_meter
from tallystick.catalog.strategy_rules import charges_models, strategy_problems
from tallystick.catalog.tables import FeatureTable, Limit, MeterTable, PlanTable
from tallystick.catalog.usage_billing import is_token_meter, usage_billing_problems

NAME: Final = re.compile(r"[a-z][a-z0-9_]{0,62}")
_NAME_WORDS: Final = "lower-case letters, digits and '_', a letter first"
_STRIPE_ID: Final = re.compile(r"[A-Za-z0-9_-]{1,255}")
_DAYS_MAX: Final = 730


def read_meter(table: MeterTable, where: str) -> Meter:
    found = [*_unless(NAME.fullmatch(table.name), f"name must be {_NAME_WORDS}"), *_words(table, "title", "unit")]
    if table.name in BUILT_IN:
        found.append("is built in and needs no table; a meter of your own needs a name of its own")
    if is_token_meter(table.name):
        found.append("is a provider's, counted where a plan prices it; a meter of your own needs another name")
    if table.name == CONCURRENCY:
        found.append("is what plans limit by rates = { concurrency = ... }; a meter needs another name")
    _raise(found, where)
    return Meter(name=table.name, title=table.title, unit=table.unit, aggregation=table.aggregation)


def read_feature(table: FeatureTable, where: str) -> Feature:
    found = [*_unless(NAME.fullmatch(table.name), f"name must be {_NAME_WORDS}"), *_words(table, "title")]
    found += _unless(table.limits, 'limits must name a tier, such as { free = 10, enterprise = "unlimited" }')
    found += [f"limits: tier {tier} must be {_NAME_WORDS}" for tier in table.limits if not NAME.fullmatch(tier)]
    limits = _limits(table.limits, "limits", found)
    _raise(found, where)
    return Feature(name=table.name, title=table.title, limits=limits)


def read_plan(table: PlanTable, where: str) -> Plan:
    found = [*_identity_problems(table), *_number_problems(table)]
    price = _money(table.price, "price", found)
    if price % 10**7:
        found.append("price has more than 2 decimals")
    meters = _plan_meters(table, found)
    quotas = _limits(table.quotas, "quotas", found)
    plan = Plan(
        slug=table.slug,
        name=table.name,
        strategy=table.strategy,
        amount_minor=0 if price % 10**7 else to_minor(price),
        currency=CURRENCY,
        interval=table.interval,
        tier=table.tier,
        meters=tuple(meters),
        charges_models=charges_models(table.strategy, table.charges_models),
        quotas=quotas,
        features=tuple(table.features),
        rates=PlanRates(
            requests_per_minute=table.rates.requests_per_minute,
            tokens_per_minute=table.rates.tokens_per_minute,
            concurrency=table.rates.concurrency,
        ),
        routes=None if table.routes is None else tuple(table.routes),
        auth_modes=tuple(table.auth_modes),
        credit_limit=_money(table.credit_limit, "credit_limit", found),
        overdraft=_money(table.overdraft, "overdraft", found),
        default_max_tokens=table.default_max_tokens,
        trial_days=table.trial_days,
        grace_days=table.grace_days,
        default=table.default,
        stripe_price=table.stripe_price,
        usage_billing=table.usage_billing,
    )
    found += strategy_problems(plan, written=table.charges_models)
    found += usage_billing_problems(plan)
    if plan.default and plan.amount_minor:
        found.append("a default plan must have price = 0, for nobody is billed for it")
    _raise(found, where)
    return plan


def _plan_meters(table: PlanTable, found: list[str]) -> list[PlanMeter]:
    meters = []
    for row in table.meters:
        try:
            meters.append(read_plan_meter(row))
        except CatalogError as error:
            found.extend(error.problems)
    return meters


def _identity_problems(table: PlanTable) -> list[str]:
    found = _unless(SLUG.fullmatch(table.slug), "slug must be lower-case letters, digits and '-'")
    found += _words(table, "name")
    if (foreign := other_currency(table.currency)) is not None:
        found.append(foreign)
    found += [f"features: {name} must be {_NAME_WORDS}" for name in table.features if not NAME.fullmatch(name)]
    found += _unless(table.auth_modes, "auth_modes must name one of credits, byok")
    found += _unless(table.routes is None or table.routes, "routes must name a route; without it all may be called")
    if table.stripe_price is not None:
        found += _unless(_STRIPE_ID.fullmatch(table.stripe_price), "stripe_price must be an id of Stripe's")
    for field in ("features", "auth_modes", "routes"):
        found += [f"{field} names {name} twice" for name in _repeated(getattr(table, field) or ())]
    found += [f"meter {name} is named twice" for name in _repeated(row.meter for row in table.meters)]
    return found


def _number_problems(table: PlanTable) -> list[str]:
    rates = table.rates
    bounds: dict[str, tuple[int | None, int, int]] = {
        "rates: requests_per_minute": (rates.requests_per_minute, 1, TOKENS_MAX),
        "rates: tokens_per_minute": (rates.tokens_per_minute, 1, TOKENS_MAX),
        "rates: concurrency": (rates.concurrency, 1, TOKENS_MAX),
        "default_max_tokens": (table.default_max_tokens, 1, TOKENS_MAX),
        "trial_days": (table.trial_days, 0, _DAYS_MAX),
        "grace_days": (table.grace_days, 0, _DAYS_MAX),
    }
    return [
        f"{field} must be between {least} and {most}"
        for field, (value, least, most) in bounds.items()
        if value is not None and not least <= value <= most
    ]


def _limits(written: Mapping[str, Limit], field: str, found: list[str]) -> dict[str, int | None]:
    limits = {name: None if limit == "unlimited" else limit for name, limit in written.items()}
    for name, limit in limits.items():
        if limit is not None and not 0 <= limit <= COUNT_MAX:
            found.append(f'{field}: {name} must be between 0 and {COUNT_MAX}, or "unlimited"')
    return limits


def _money(value: Decimal, field: str, found: list[str]) -> int:
    """Nanocredits; zero is allowed here, where `parse_amount` wants something to be paid."""
    if value.is_finite() and value == 0:
        return 0
    try:
        return parse_amount(value, field)
    except InvalidAmount as error:
        found.append(error.message.replace("must be greater than zero", "must not be negative"))
        return 0


def _words(table: MeterTable | FeatureTable | PlanTable, *fields: str) -> list[str]:
    return [f"{field} must not be empty" for field in fields if not getattr(table, field).strip()]


def _repeated(names: Iterable[str]) -> list[str]:
    every = list(names)
    return sorted({name for name in every if every.count(name) > 1})


def _unless(holds: object, problem: str) -> list[str]:
    return [] if holds else [problem]


def _raise(found: list[str], where: str) -> None:
    if found:
        raise CatalogError([f"{where}: {problem}" for problem in found])
