"""What the entries of a catalog file say of each other: names that must be there, and what only one may be. Pure."""

from collections.abc import Iterator, Mapping
from typing import Final, TypeVar

from tallystick.catalog.document import ANY, Coupon, Document, EntryKind, Provider, Route
from tallystick.catalog.meters import BUILT_IN
from tallystick.catalog.plan import Feature, Plan
from tallystick.catalog.timeline import Wanted
from tallystick.catalog.usage_billing import token_meters

D = TypeVar("D", bound=Document)

TIERS: Final = frozenset({"free", "pro", "enterprise"})
"""Tiers that need no feature and no plan to be known."""


def reference_problems(
    catalog: Mapping[EntryKind, Mapping[str, list[Wanted]]], named: Mapping[EntryKind, set[str]]
) -> list[str]:
    """Every sentence about a name that is not there. `named` holds the entries that are wrong themselves too: what is
    there and wrong is not missing."""
    plans, features = _documents(catalog, "plan", Plan), _documents(catalog, "feature", Feature)
    return [
        *_providers(catalog, named["provider"]),
        *_tiers(plans, features, complete=len(plans) == len(named["plan"])),
        *_plan_names(plans, named, open_models=any(p.open_models for p in _documents(catalog, "provider", Provider))),
        *_one_default(plans),
        *_coupon_packs(_documents(catalog, "coupon", Coupon), named["pack"]),
        *_route_features(_documents(catalog, "route", Route), named["feature"]),
    ]


def _providers(catalog: Mapping[EntryKind, Mapping[str, list[Wanted]]], providers: set[str]) -> Iterator[str]:
    """A misspelt provider would otherwise be a model that is silently never sold."""
    for kind in ("cost_profile", "price"):
        for name in catalog[kind]:
            provider = name.split("/", 1)[0]
            if provider not in providers and provider != ANY:
                yield f"{kind} {name}: there is no provider {provider}"


def _tiers(plans: list[Plan], features: list[Feature], *, complete: bool) -> Iterator[str]:
    """A tier of one's own is one that a plan has and a feature limits; with one of the two only, it is a slip."""
    limited = {tier for feature in features for tier in feature.limits}
    for plan in plans:
        if plan.tier not in TIERS | limited:
            yield f"plan {plan.slug}: there is no tier {plan.tier}; known are {', '.join(sorted(TIERS | limited))}"
    sold = {plan.tier for plan in plans}
    for feature in features:
        for tier in feature.limits:
            if complete and tier not in TIERS | sold:
                yield f"feature {feature.name}: limits: there is no tier {tier}, for no plan has it"


def _plan_names(plans: list[Plan], named: Mapping[EntryKind, set[str]], *, open_models: bool) -> Iterator[str]:
    meters = named["meter"] | BUILT_IN.keys()
    for plan in plans:
        for meter in plan.meters:
            if meter.meter not in meters and not _is_of_provider(meter.meter, named["provider"]):
                yield f"plan {plan.slug}: there is no meter {meter.meter}; known are {', '.join(sorted(meters))}"
        for feature in plan.quotas:
            if feature not in named["feature"]:
                yield f"plan {plan.slug}: quotas: there is no feature {feature}"
        # A provider with open models sells names that only its imported costs tell.
        for route in () if open_models else plan.routes or ():
            if route not in named["route"]:
                yield f"plan {plan.slug}: there is no route {route}"


def _is_of_provider(meter: str, providers: set[str]) -> bool:
    return any(meter in token_meters(provider) for provider in providers)


def _one_default(plans: list[Plan]) -> Iterator[str]:
    defaults = [plan.slug for plan in plans if plan.default]
    if len(defaults) > 1:
        yield f"plan {', '.join(defaults)}: only one plan can be the default"


def _route_features(routes: list[Route], features: set[str]) -> Iterator[str]:
    for route in routes:
        if route.feature is not None and route.feature not in features:
            yield f"route {route.alias}: there is no feature {route.feature}"


def _coupon_packs(coupons: list[Coupon], packs: set[str]) -> Iterator[str]:
    for coupon in coupons:
        for pack in coupon.packs or ():
            if pack not in packs:
                yield f"coupon {coupon.code}: packs: there is no pack {pack}"


def _documents(catalog: Mapping[EntryKind, Mapping[str, list[Wanted]]], kind: EntryKind, type_: type[D]) -> list[D]:
    wanted = (entry.document for entries in catalog[kind].values() for entry in entries)
    return [document for document in wanted if isinstance(document, type_)]
