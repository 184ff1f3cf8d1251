"""The importer's reading of genai-prices, checked against what that package itself computes."""

import random
from datetime import UTC, date, datetime, time
from decimal import ROUND_CEILING, Decimal

import pytest
from genai_prices.data import providers
from genai_prices.types import (
    ClauseEquals,
    ConditionalPrice,
    ModelInfo,
    ModelPrice,
    Provider,
    StartDateConstraint,
    TieredPrices,
    TimeOfDateConstraint,
)
from genai_prices.types import Usage as ListUsage

from tallystick.base.errors import NotFound
from tallystick.catalog.entries import _MODEL_NAME
from tallystick.catalog.price import Rates, Usage, amount, rates_at
from tallystick.catalog.price_list import _KINDS, Listed, _listed, known_providers, listed, recognises

NOW = datetime(2026, 6, 1, 12, tzinfo=UTC)
BY_ID = {provider.id: provider for provider in providers}


def one(provider: str, model: str, now: datetime = NOW) -> Listed:
    (found,) = listed(provider, now, [model])
    return found


def is_metered_whole(price: ModelPrice) -> bool:
    return bool(price.__dict__) and price.__dict__.keys() <= _KINDS.keys()


def comparable() -> list[tuple[Provider, ModelInfo]]:
    return [
        (provider, model)
        for provider in providers
        for model in provider.models
        if is_metered_whole(model.get_prices(NOW))
    ]


def some_usage(chance: random.Random, price: ModelPrice) -> Usage:
    def part(key: str, size: int) -> int:
        return chance.randrange(size) if key in price.__dict__ else 0

    cached = part("cache_read_mtok", 300_000)
    written = part("cache_write_mtok", 300_000)
    heard = part("input_audio_mtok", 10_000) if not cached else 0
    reasoned = part("output_reasoning_mtok", 5_000)
    spoken = part("output_audio_mtok", 5_000) if not reasoned else 0
    return Usage(
        input_tokens=chance.choice([0, 7, 1_000, 127_999, 128_000, 128_001, 272_001]) + cached + written + heard,
        cached_tokens=cached,
        cache_write_tokens=written,
        input_audio_tokens=heard,
        output_tokens=(chance.randrange(50_000) if "output_mtok" in price.__dict__ else 0) + reasoned + spoken,
        reasoning_tokens=reasoned,
        output_audio_tokens=spoken,
    )


def test_our_cost_equals_the_lists_own_for_every_model_we_meter_whole() -> None:
    chance = random.Random(20260601)
    compared = tiered = 0
    for provider, model in comparable():
        entry = one(provider.id, model.id)
        if any("rounded up" in note or "hour" in note for note in entry.notes):
            continue
        price = model.get_prices(NOW)
        assert entry.rates is not None, (provider.id, model.id, entry.notes)
        for _ in range(3):
            usage = some_usage(chance, price)
            theirs = price.calc_price(
                ListUsage(
                    input_tokens=usage.input_tokens,
                    cache_read_tokens=usage.cached_tokens,
                    cache_write_tokens=usage.cache_write_tokens,
                    input_audio_tokens=usage.input_audio_tokens,
                    output_tokens=usage.output_tokens,
                    output_reasoning_tokens=usage.reasoning_tokens,
                    output_audio_tokens=usage.output_audio_tokens,
                )
            )["total_price"]
            expected = int((theirs * 10**9).to_integral_value(ROUND_CEILING))
            assert amount(entry.rates, usage) == expected, (provider.id, model.id, usage)
            compared += 1
        tiered += any(isinstance(value, TieredPrices) for value in price.__dict__.values())
    assert compared > 3000
    assert tiered > 50


def test_every_entry_of_the_list_is_imported_or_explained() -> None:
    for provider in sorted(known_providers()):
        for entry in listed(provider, NOW):
            assert entry.rates is not None or entry.notes, (provider, entry.model)


def test_no_price_of_the_list_is_dropped_in_silence() -> None:
    for provider in providers:
        entries = {entry.model: entry for entry in listed(provider.id, NOW)}
        for model in provider.models:
            for key, value in model.get_prices(NOW).__dict__.items():
                if value is not None and key not in _KINDS:
                    notes = entries[model.id].notes
                    assert any(note.startswith(f"{key} ") for note in notes), (provider.id, model.id, key)


def test_a_known_price_arrives_exactly() -> None:
    entry = one("openai", "gpt-4o-mini")
    assert entry.rates is not None
    flat = rates_at(entry.rates, 0)
    assert (flat.input, flat.cached_input, flat.output) == (150_000_000, 75_000_000, 600_000_000)
    assert entry.context_tokens == 128_000


def test_a_dated_spelling_is_recognised_and_kept() -> None:
    assert recognises("openai", "gpt-4o-mini-2024-07-18")
    assert one("openai", "gpt-4o-mini-2024-07-18").model == "gpt-4o-mini-2024-07-18"
    assert one("openai", "gpt-4o-mini-2024-07-18").rates == one("openai", "gpt-4o-mini").rates


def dated(day: date, dollars: int) -> ConditionalPrice:
    price = ModelPrice(input_mtok=Decimal(dollars))
    return ConditionalPrice(constraint=StartDateConstraint(start_date=day), prices=price)


def test_the_price_in_force_now_is_taken() -> None:
    prices = [
        ConditionalPrice(prices=ModelPrice(input_mtok=Decimal(2))),
        dated(date(2026, 7, 1), 3),
        dated(date(2026, 8, 1), 4),
    ]
    model = ModelInfo(id="m", match=ClauseEquals(equals="m"), prices=prices)
    moments = [
        datetime(2026, 6, 30, 23, 59, tzinfo=UTC),
        *(datetime(2026, month, 1, tzinfo=UTC) for month in (7, 8, 9)),
    ]
    found = [_listed("m", model, moment) for moment in moments]
    assert [entry.rates and entry.rates.input for entry in found] == [2 * 10**9, 3 * 10**9, 4 * 10**9, 4 * 10**9]


def test_a_price_by_the_hour_is_imported_at_its_dearest_at_any_hour() -> None:
    hours = [one("deepseek", "deepseek-chat", NOW.replace(hour=hour)) for hour in range(24)]
    assert all(entry == hours[0] for entry in hours)
    assert hours[0].rates is not None
    assert hours[0].rates.input == 270_000_000
    assert any("hour" in note for note in hours[0].notes)


def test_hours_hold_on_every_day_until_a_later_date_replaces_them() -> None:
    evening = TimeOfDateConstraint(start_time=time(18), end_time=time(20))
    model = ModelInfo(
        id="m",
        match=ClauseEquals(equals="m"),
        prices=[
            ConditionalPrice(prices=ModelPrice(input_mtok=Decimal(2))),
            ConditionalPrice(constraint=evening, prices=ModelPrice(input_mtok=Decimal(5))),
            dated(date(2026, 7, 1), 3),
        ],
    )
    before, after = (_listed("m", model, datetime(2026, month, 1, tzinfo=UTC)) for month in (6, 7))
    assert before.rates == Rates(input=5_000_000_000)
    assert after.rates == Rates(input=3_000_000_000)
    assert after.notes == ()


def test_what_cannot_be_said_in_nine_decimals_is_rounded_up_and_told() -> None:
    rounded = [
        (provider, entry)
        for provider in sorted(known_providers())
        for entry in listed(provider, NOW)
        if any("rounded up" in note for note in entry.notes)
    ]
    assert rounded
    for provider, entry in rounded:
        model = next(model for model in BY_ID[provider].models if model.id == entry.model)
        price = model.get_prices(NOW)
        for key, (kind, units) in _KINDS.items():
            value = price.__dict__.get(key)
            if isinstance(value, Decimal) and entry.rates is not None and kind != "request":
                assert 0 <= getattr(entry.rates, kind) - value / units * 10**9 < 1


def test_unknown_names_are_refused() -> None:
    with pytest.raises(NotFound, match="no provider 'nobody'"):
        listed("nobody", NOW)
    with pytest.raises(NotFound, match="no price for openai/no-such-model"):
        listed("openai", NOW, ["no-such-model"])


def test_every_listed_model_has_a_name_that_a_route_can_hold() -> None:
    odd = [model.id for provider in providers for model in provider.models if not _MODEL_NAME.fullmatch(model.id)]
    assert odd == []
