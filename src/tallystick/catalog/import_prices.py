"""Import what providers charge us from the offline price list of genai-prices into cost profiles."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Final

import asyncpg
import msgspec

from tallystick.base.errors import NotFound
from tallystick.catalog.difference import Difference
from tallystick.catalog.document import CostProfile, Provider, Route
from tallystick.catalog.page import held
from tallystick.catalog.price_list import Listed, known_providers, listed, recognises
from tallystick.catalog.publish import OPERATOR, publish, queries
from tallystick.catalog.read import versions
from tallystick.catalog.timeline import Change, Names, Version, Wanted, by_name, changes, latest

SOURCE: Final = "genai-prices"


class Import(msgspec.Struct, frozen=True, kw_only=True):
    """What an import changed. `notes` tell, by "provider/model", what the list says and we cannot meter or keep."""

    difference: Difference
    unchanged: tuple[str, ...]
    kept: tuple[str, ...]
    """Models whose cost was written in a catalog file: the file's word stands."""
    notes: tuple[str, ...]


async def import_prices(
    connection: asyncpg.Connection,
    *,
    now: datetime,
    provider: str | None = None,
    models: Sequence[str] = (),
    dry_run: bool = False,
    by: str = OPERATOR,
) -> Import:
    """Publish the list's costs in force at `now` as cost profiles, from `now` on; importing again changes nothing.

    `provider` is a published provider (its price_list says under which name the list knows it) or a name of the list;
    None means every published provider that the list knows. Without `models`, all of the provider's, in the list's
    spelling and in that of our routes. Raises NotFound for what the list does not have.
    """
    async with connection.transaction():
        await queries.take_turn(connection)
        published = await versions(connection, now)
        names = by_name(published)
        appended: list[Change] = []
        unchanged: list[str] = []
        kept: list[str] = []
        notes: list[str] = []
        for name, price_list in _lists(names, provider, now).items():
            for entry in _entries(names, name, price_list, models, now):
                target = f"{name}/{entry.model}"
                notes += [f"{target}: {note}" for note in entry.notes]
                history = names["cost_profile"].get(target, [])
                if entry.rates is None:
                    continue
                if (last := latest(history)) is not None and last.source != SOURCE and not last.retired:
                    kept.append(target)
                elif found := _changes(name, entry, history, now):
                    appended += found
                else:
                    unchanged.append(target)
        # A cost is a fact: an import that shows a price to be too low is told of, and does not hide the fact.
        difference = await publish(
            connection, published, appended, now=now, dry_run=dry_run, refuse_losses=False, by=by
        )
    return Import(difference=difference, unchanged=tuple(unchanged), kept=tuple(kept), notes=tuple(notes))


def _changes(provider: str, entry: Listed, history: Sequence[Version], now: datetime) -> list[Change]:
    if entry.rates is None:
        return []
    last = latest(history)
    known = last.document if last is not None and isinstance(last.document, CostProfile) else None
    profile = CostProfile(
        provider=provider,
        model=entry.model,
        rates=entry.rates,
        context_tokens=entry.context_tokens,
        # The list has no such bounds: those of an earlier version stay.
        output_tokens_max=known.output_tokens_max if known else None,
        image_tokens_max=known.image_tokens_max if known else None,
    )
    name = f"{provider}/{entry.model}"
    return changes("cost_profile", name, history, [Wanted(document=profile)], source=SOURCE, now=now)


def _lists(names: Names, provider: str | None, now: datetime) -> Mapping[str, str]:
    """Our providers to import for -> the name under which the list knows each."""
    lists = {name: published.document.price_list for name, published in held(names, "provider", Provider, now).items()}
    if provider is not None:
        return {provider: lists.get(provider, provider)}
    known = {name: price_list for name, price_list in lists.items() if price_list in known_providers()}
    if not known:
        raise NotFound("No published provider is in genai-prices: apply a catalog with one, or name a --provider.")
    return known


def _entries(names: Names, provider: str, price_list: str, models: Sequence[str], now: datetime) -> list[Listed]:
    if models:
        return listed(price_list, now, models)
    found = listed(price_list, now)
    routed = {
        candidate.model
        for route in held(names, "route", Route, now).values()
        for candidate in route.document.candidates
        if candidate.provider == provider
    }
    others = sorted(routed - {entry.model for entry in found})
    spelt = [model for model in others if recognises(price_list, model)]
    return [*found, *(listed(price_list, now, spelt) if spelt else [])]
