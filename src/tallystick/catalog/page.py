"""What is for sale between two moments, worked out once. Pure."""

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Generic, TypeVar

from tallystick.catalog.candidate import Candidate, Model, candidate
from tallystick.catalog.document import (
    ANY,
    CostProfile,
    Coupon,
    CredentialReference,
    EntryKind,
    FallbackPolicy,
    Pack,
    Price,
    Provider,
    Route,
)
from tallystick.catalog.errors import ProviderNotReady, UnknownModel, UnpricedModel
from tallystick.catalog.plan import Feature, Meter, Plan
from tallystick.catalog.timeline import Names, living

D = TypeVar("D", Provider, CostProfile, Price, Route, Pack, Meter, Feature, Plan, Coupon)
Target = tuple[str, str]
"""(provider, model)"""


@dataclass(frozen=True, slots=True)
class Held(Generic[D]):
    """A document in force: the id of its version, and since when."""

    id: int
    since: datetime
    document: D


@dataclass(frozen=True, slots=True)
class Sale:
    """A model that a provider has a cost for; `price` is None where nobody said what it sells for."""

    cost: Held[CostProfile]
    price: Held[Price] | None


class Page:
    """Every answer of the Book from `since` until `until`, between which nothing changes."""

    def __init__(
        self, versions: Names, secrets: Mapping[CredentialReference, str], since: datetime, until: datetime
    ) -> None:
        self.since, self.until = since, until
        self._secrets = secrets
        self.providers = held(versions, "provider", Provider, since)
        self.routes = held(versions, "route", Route, since)
        prices = held(versions, "price", Price, since)
        self.sales: dict[Target, Sale] = {
            (cost.document.provider, cost.document.model): Sale(cost, _price_for(cost.document, prices))
            for cost in held(versions, "cost_profile", CostProfile, since).values()
        }
        self.unready = {
            name
            for name, provider in self.providers.items()
            if provider.document.credential and provider.document.credential not in secrets
        }
        self._open_names = self._find_open_names()
        self.models = dict(sorted((self._open_models() | self._routed_models()).items()))

    def refusal(self, alias: str) -> UnknownModel | UnpricedModel | ProviderNotReady:
        """Why `alias` cannot be called."""
        targets = self._targets(alias)
        if not targets:
            return UnknownModel(f"There is no model {alias!r}.")
        if len(targets) > 1 and alias not in self.routes:
            full = " or ".join(sorted("/".join(target) for target in targets))
            return UnknownModel(f"Several providers offer the model {alias!r}: say {full}.")
        if any(self._is_sold(target) for target in targets):
            return ProviderNotReady(f"The model {alias!r} cannot be called now: its provider is not set up here.")
        return UnpricedModel(f"The model {alias!r} has no price, so it cannot be called.")

    def unsold_targets(self) -> dict[str, list[str]]:
        """Per route, the "provider/model" it names that cannot be sold, for want of a cost or of a price."""
        unsold = {
            alias: ["/".join(target) for target in self._targets(alias) if not self._is_sold(target)]
            for alias in self.routes
        }
        return {alias: names for alias, names in unsold.items() if names}

    def _targets(self, alias: str) -> list[Target]:
        route = self.routes.get(alias)
        if route is None:
            return self._open_names.get(alias, [])
        return [(entry.provider, entry.model) for entry in route.document.candidates]

    def _find_open_names(self) -> dict[str, list[Target]]:
        """The names of models at providers with open_models, priced or not: "provider/model", and "model" alone."""
        names: dict[str, list[Target]] = defaultdict(list)
        for target in self.sales:
            provider = self.providers.get(target[0])
            if provider is not None and provider.document.open_models:
                names["/".join(target)].append(target)
                names[target[1]].append(target)
        return names

    def _open_models(self) -> dict[str, Model]:
        models: dict[str, Model] = {}
        for name, targets in self._open_names.items():
            found = self._candidate(targets[0]) if len(targets) == 1 else None
            if found is not None:
                since = self.sales[targets[0]].cost.since
                policy = FallbackPolicy(attempts_max=1, on=())
                models[name] = Model(name=name, candidates=(found,), since=since, fallback=policy)
        return models

    def _routed_models(self) -> dict[str, Model]:
        models: dict[str, Model] = {}
        for alias, route in self.routes.items():
            found = [self._candidate(target) for target in self._targets(alias)]
            candidates = tuple(entry for entry in found if entry is not None)
            if candidates:
                models[alias] = Model(
                    name=alias,
                    candidates=candidates,
                    since=route.since,
                    fallback=route.document.fallback,
                    feature=route.document.feature,
                )
        return models

    def _is_sold(self, target: Target) -> bool:
        sale = self.sales.get(target)
        return sale is not None and sale.price is not None and target[0] in self.providers

    def _candidate(self, target: Target) -> Candidate | None:
        """None where the target has no cost, no price, no provider, or no credential in this process."""
        sale, provider = self.sales.get(target), self.providers.get(target[0])
        if sale is None or sale.price is None or provider is None or target[0] in self.unready:
            return None
        reference = provider.document.credential
        secret = self._secrets[reference] if reference else None
        return candidate(
            provider.document, secret, sale.cost.id, sale.cost.document, sale.price.id, sale.price.document
        )


def held(versions: Names, kind: EntryKind, type_: type[D], at: datetime) -> dict[str, Held[D]]:
    """The documents of one kind that are in force at `at`, by name."""
    found: dict[str, Held[D]] = {}
    for name, history in versions[kind].items():
        version = living(history, at)
        if version is not None:
            if not isinstance(version.document, type_):
                raise TypeError(f"version {version.id} is stored as a {kind} and is none")
            found[name] = Held(version.id, version.effective_from, version.document)
    return found


def _price_for(cost: CostProfile, prices: Mapping[str, Held[Price]]) -> Held[Price] | None:
    """The narrowest price: the model's own, its provider's, everyone's."""
    names = (f"{cost.provider}/{cost.model}", f"{cost.provider}/{ANY}", f"{ANY}/{ANY}")
    return next((prices[name] for name in names if name in prices), None)
