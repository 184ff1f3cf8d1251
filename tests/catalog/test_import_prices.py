"""Importing costs into a database: exact, repeatable, and never over the word of a catalog file."""

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from fractions import Fraction

import asyncpg
import pytest

from tallystick.base.errors import NotFound
from tallystick.catalog import read
from tallystick.catalog.document import CostProfile
from tallystick.catalog.errors import CatalogError
from tallystick.catalog.import_prices import import_prices
from tallystick.catalog.list_prices import list_prices
from tallystick.catalog.price import Kind, Rates
from tallystick.catalog.publish import apply
from tallystick.catalog.set_price import set_price

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
LATER = NOW + timedelta(days=1)

PROVIDERS = """
[[provider]]
name = "openai"
base_url = "https://api.openai.com/v1"
credential = { env = "OPENAI_API_KEY" }

[[provider]]
name = "private"
base_url = "https://llm.test/v1"
"""
MARKUP = '\n[[price]]\nprovider = "openai"\nmodel = "*"\nmarkup = 1.25\n'
ROUTE = '\n[[route]]\nalias = "mini"\ncandidates = [{ provider = "openai", model = "gpt-4o-mini-2024-07-18" }]\n'


async def test_a_model_is_imported_exactly(connection: asyncpg.Connection) -> None:
    done = await import_prices(connection, now=NOW, provider="openai", models=["gpt-4o-mini"])
    (change,) = done.difference.changes
    assert change.after == CostProfile(
        provider="openai",
        model="gpt-4o-mini",
        rates=Rates(input=150_000_000, cached_input=75_000_000, output=600_000_000),
        context_tokens=128_000,
    )
    (version,) = await read.history(connection, "cost_profile", "openai/gpt-4o-mini")
    assert (version.document, version.source, version.effective_from) == (change.after, "genai-prices", NOW)


async def test_importing_twice_changes_nothing(connection: asyncpg.Connection) -> None:
    await apply(connection, PROVIDERS, now=NOW)
    first = await import_prices(connection, now=NOW)
    assert len(first.difference.changes) > 50
    again = await import_prices(connection, now=LATER)
    assert not again.difference
    assert len(again.unchanged) == len(first.difference.changes)
    assert again.notes == first.notes


async def test_a_dry_run_imports_nothing(connection: asyncpg.Connection) -> None:
    done = await import_prices(connection, now=NOW, provider="openai", models=["gpt-4o"], dry_run=True)
    assert done.difference
    assert await connection.fetchval("select count(*) from catalog_entry") == 0


async def test_every_published_provider_that_the_list_knows_is_imported(connection: asyncpg.Connection) -> None:
    with pytest.raises(NotFound, match="apply a catalog with one, or name a --provider"):
        await import_prices(connection, now=NOW)
    await apply(connection, PROVIDERS, now=NOW)
    done = await import_prices(connection, now=NOW)
    assert {change.name.split("/")[0] for change in done.difference.changes} == {"openai"}


async def test_the_spelling_of_a_route_is_imported_too(connection: asyncpg.Connection) -> None:
    await apply(connection, PROVIDERS + MARKUP + ROUTE, now=NOW)
    await import_prices(connection, now=NOW)
    book = await read.load_book(connection, lambda _reference: "secret")
    assert book.candidates("mini", NOW)[0].markup_ppm == 1_250_000


async def test_a_provider_may_have_another_name_in_the_list(connection: asyncpg.Connection) -> None:
    await apply(connection, PROVIDERS + 'price_list = "openai"\n', now=NOW)
    done = await import_prices(connection, now=NOW, provider="private", models=["gpt-4o-mini"])
    assert [change.name for change in done.difference.changes] == ["private/gpt-4o-mini"]


async def test_apply_does_not_retire_what_was_imported(connection: asyncpg.Connection) -> None:
    await apply(connection, PROVIDERS, now=NOW)
    await import_prices(connection, now=NOW, provider="openai", models=["gpt-4o-mini"])
    assert not await apply(connection, PROVIDERS, now=LATER)


async def test_the_word_of_the_file_stands(connection: asyncpg.Connection) -> None:
    own = '\n[[cost_profile]]\nprovider = "openai"\nmodel = "gpt-4o-mini"\ninput = 0.1\noutput = 0.4\n'
    await apply(connection, PROVIDERS + own, now=NOW)
    done = await import_prices(connection, now=NOW, provider="openai", models=["gpt-4o-mini"])
    assert done.kept == ("openai/gpt-4o-mini",)
    assert not done.difference
    # Once the file no longer says it, the list may.
    await apply(connection, PROVIDERS, now=LATER)
    assert (await import_prices(connection, now=LATER, provider="openai", models=["gpt-4o-mini"])).difference


async def test_an_imported_cost_above_the_price_is_published_and_told(connection: asyncpg.Connection) -> None:
    price = '\n[[price]]\nprovider = "openai"\nmodel = "gpt-4o-mini"\ninput = 0.1\noutput = 0.4\n'
    await apply(connection, PROVIDERS + price, now=NOW)
    done = await import_prices(connection, now=NOW, provider="openai", models=["gpt-4o-mini"])
    assert any("input at 0.1 for a cost of 0.15; output at 0.4" in warning for warning in done.difference.warnings)
    assert done.difference


async def test_unknown_names_are_refused(connection: asyncpg.Connection) -> None:
    with pytest.raises(NotFound):
        await import_prices(connection, now=NOW, provider="openai", models=["no-such-model"])
    with pytest.raises(NotFound):
        await import_prices(connection, now=NOW, provider="nobody")


async def test_what_cannot_be_metered_is_told(connection: asyncpg.Connection) -> None:
    done = await import_prices(connection, now=NOW, provider="openai")
    assert any("is not metered" in note for note in done.notes)
    assert all(note.startswith("openai/") for note in done.notes)


async def test_a_price_by_hand_is_checked_as_one_from_a_file(connection: asyncpg.Connection) -> None:
    await import_prices(connection, now=NOW, provider="openai", models=["gpt-4o-mini"])
    with pytest.raises(CatalogError, match=r"below cost, input at 0\.1 for a cost of 0\.15: raise"):
        await set_price(
            connection, "openai", "gpt-4o-mini", now=NOW, rates={"input": Decimal("0.1"), "output": Decimal(1)}
        )
    with pytest.raises(CatalogError, match="needs either a markup or rates"):
        await set_price(connection, "openai", "gpt-4o-mini", now=NOW)
    with pytest.raises(CatalogError, match="markup must be above 0"):
        await set_price(connection, "openai", "*", now=NOW, markup=Decimal(0))
    rates: dict[Kind, Decimal] = {"input": Decimal("0.15"), "output": Decimal("0.60")}
    done = await set_price(connection, "openai", "gpt-4o-mini", now=NOW, rates=rates, allow_loss=True)
    assert done.lines() == ["+ price openai/gpt-4o-mini: input 0.15, output 0.6, allow_loss true"]
    assert not await set_price(connection, "openai", "gpt-4o-mini", now=LATER, rates=rates, allow_loss=True)
    dated = await set_price(
        connection, "openai", "gpt-4o-mini", now=LATER, markup=Decimal(2), effective_from=LATER + timedelta(days=3)
    )
    assert len(dated.changes) == 1
    with pytest.raises(CatalogError, match="is in the past"):
        await set_price(connection, "openai", "gpt-4o-mini", now=LATER, markup=Decimal(3), effective_from=NOW)


async def test_cost_price_and_margin_of_each_model(connection: asyncpg.Connection) -> None:
    await apply(connection, PROVIDERS, now=NOW)
    await import_prices(connection, now=NOW, provider="openai", models=["gpt-4o-mini", "gpt-4o"])
    await set_price(connection, "openai", "gpt-4o-mini", now=NOW, markup=Decimal("1.25"))
    unsold, sold = await list_prices(connection, NOW)
    assert (unsold.model, unsold.is_sold, unsold.price_id, unsold.margins) == ("gpt-4o", False, None, ())
    assert (sold.model, sold.is_sold, sold.markup_ppm) == ("gpt-4o-mini", True, 1_250_000)
    assert {margin.share for margin in sold.margins} == {Fraction(1, 5)}
    assert {margin.kind: margin.price for margin in sold.margins}["input"] == 187_500_000
