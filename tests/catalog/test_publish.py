"""Publishing on a real database: twice is once, the past stands, and nothing is sold below cost by accident."""

import asyncio
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path

import asyncpg
import pytest

from tallystick.base.errors import NotFound
from tallystick.catalog import read
from tallystick.catalog.book import Book
from tallystick.catalog.document import CostProfile, CredentialReference, Price, reprice
from tallystick.catalog.errors import CatalogError, UnknownModel, UnpricedModel
from tallystick.catalog.price import Usage
from tallystick.catalog.publish import apply
from tallystick.catalog.set_price import set_price

CATALOG = Path(__file__).with_name("small.toml").read_text()
NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
LATER = NOW + timedelta(days=10)
USAGE = Usage(input_tokens=1_000_000)


async def rows(connection: asyncpg.Connection) -> int:
    return int(await connection.fetchval("select count(*) from catalog_entry"))


async def book_now(connection: asyncpg.Connection) -> Book:
    return await read.load_book(connection, lambda _reference: "secret")


async def book_since(connection: asyncpg.Connection, since: datetime) -> Book:
    return Book(await read.versions(connection, since), {CredentialReference(env="ACME_KEY"): "secret"})


async def test_the_first_catalog_is_all_new(connection: asyncpg.Connection) -> None:
    difference = await apply(connection, CATALOG, now=NOW)
    assert difference.lines() == [
        "+ provider acme: protocol openai, base_url https://api.acme.test/v1, credential env ACME_KEY",
        "+ cost_profile acme/small: input 0.15, cached_input 0.075, output 0.6",
        "+ price acme/small: markup 1.25",
        "+ route fast: candidates acme/small (priority 0, weight 1), fallback attempts_max 1 on nothing",
        "+ pack starter: name Starter, amount 5.00 usd, credits 5.00",
    ]
    assert difference.warnings == ()
    assert await rows(connection) == 5


async def test_applying_twice_changes_nothing(connection: asyncpg.Connection) -> None:
    await apply(connection, CATALOG, now=NOW)
    before = await rows(connection)
    announced = await connection.fetchval("select count(*) from change where kind = 'catalog'")
    again = await apply(connection, CATALOG, now=LATER)
    assert not again
    assert again.lines() == []
    assert await rows(connection) == before
    assert await connection.fetchval("select count(*) from change where kind = 'catalog'") == announced == 1


async def test_a_dry_run_says_the_same_and_writes_nothing(connection: asyncpg.Connection) -> None:
    tried = await apply(connection, CATALOG, now=NOW, dry_run=True)
    assert await rows(connection) == 0
    assert await connection.fetchval("select count(*) from change") == 0
    done = await apply(connection, CATALOG, now=NOW)
    assert tried.lines() == done.lines()


async def test_only_what_changed_is_appended_and_shown(connection: asyncpg.Connection) -> None:
    await apply(connection, CATALOG, now=NOW)
    difference = await apply(connection, CATALOG.replace("1.25", "1.5").replace("0.60", "0.70"), now=LATER)
    assert difference.lines() == [
        "~ cost_profile acme/small: output 0.6 -> 0.7",
        "~ price acme/small: markup 1.25 -> 1.5",
    ]
    assert await rows(connection) == 7


async def test_what_left_the_file_is_retired_and_may_come_back(connection: asyncpg.Connection) -> None:
    await apply(connection, CATALOG, now=NOW)
    without = CATALOG[: CATALOG.index("[[pack]]")]
    assert (await apply(connection, without, now=LATER)).lines() == ["- pack starter"]
    assert list((await book_now(connection)).packs()) == []
    assert not await apply(connection, without, now=LATER)
    assert (await apply(connection, CATALOG, now=LATER)).lines() == [
        "+ pack starter: name Starter, amount 5.00 usd, credits 5.00"
    ]
    assert [pack.slug for pack in (await book_now(connection)).packs()] == ["starter"]


async def test_without_its_price_a_model_is_not_sold(connection: asyncpg.Connection) -> None:
    await apply(connection, CATALOG, now=NOW)
    price = CATALOG[CATALOG.index("[[price]]") : CATALOG.index("[[route]]")]
    difference = await apply(connection, CATALOG.replace(price, ""), now=LATER)
    assert difference.lines() == ["- price acme/small"]
    assert difference.warnings == ("route fast: acme/small cannot be sold yet, for it has no cost profile or no price",)
    book = await book_now(connection)
    with pytest.raises(UnpricedModel):
        book.candidates("fast", LATER)
    with pytest.raises(UnknownModel):
        book.candidates("slow", LATER)


async def test_old_versions_stay_readable_and_old_usage_recomputes(connection: asyncpg.Connection) -> None:
    await apply(connection, CATALOG, now=NOW)
    (old,) = (await book_now(connection)).candidates("fast", NOW)
    cost, charge = old.cost(USAGE), old.charge(USAGE)
    await apply(connection, CATALOG.replace("1.25", "3").replace("0.15", "0.20"), now=LATER)
    (new,) = (await book_now(connection)).candidates("fast", LATER)
    assert new.charge(USAGE) == 600_000_000

    profile, version = [await read.version(connection, id_) for id_ in (old.cost_id, old.price_id)]
    assert isinstance(profile.document, CostProfile)
    assert isinstance(version.document, Price)
    assert reprice(profile.document, version.document, USAGE) == (cost, charge) == (150_000_000, 187_500_000)
    assert version.document.markup_ppm == 1_250_000
    assert [entry.id for entry in await read.history(connection, "price", "acme/small")] == [new.price_id, old.price_id]
    with pytest.raises(NotFound):
        await read.version(connection, 10**9)


async def test_history_can_be_neither_changed_nor_removed(connection: asyncpg.Connection) -> None:
    await apply(connection, CATALOG, now=NOW)
    for statement in (
        "update catalog_entry set document = '{}'",
        "delete from catalog_entry",
        "truncate catalog_entry",
    ):
        with pytest.raises((asyncpg.InsufficientPrivilegeError, asyncpg.RestrictViolationError)):
            await connection.execute(statement)


async def test_a_price_of_the_future_takes_effect_on_its_day(connection: asyncpg.Connection) -> None:
    await apply(connection, CATALOG, now=NOW)
    dated = CATALOG.replace("markup = 1.25", "markup = 2\neffective_from = 2026-04-01")
    day = datetime(2026, 4, 1, tzinfo=UTC)
    difference = await apply(connection, dated, now=NOW)
    assert difference.lines() == ["~ price acme/small from 2026-04-01T00:00:00Z: markup 1.25 -> 2"]

    book = await book_since(connection, NOW)
    assert book.candidates("fast", day - timedelta(microseconds=1))[0].charge(USAGE) == 187_500_000
    assert book.candidates("fast", day)[0].charge(USAGE) == 300_000_000
    assert book.candidates("fast", NOW)[0].charge(USAGE) == 187_500_000

    assert not await apply(connection, dated, now=NOW)
    assert not await apply(connection, dated, now=day + timedelta(days=3))


async def test_a_future_price_can_be_withdrawn(connection: asyncpg.Connection) -> None:
    await apply(connection, CATALOG, now=NOW)
    price = CATALOG[CATALOG.index("[[price]]") : CATALOG.index("[[route]]")]
    both = CATALOG + price.replace("markup = 1.25", "markup = 2\neffective_from = 2026-04-01")
    assert (await apply(connection, both, now=NOW)).lines() == [
        "~ price acme/small from 2026-04-01T00:00:00Z: markup 1.25 -> 2"
    ]
    assert (await apply(connection, CATALOG, now=LATER)).lines() == [
        "~ price acme/small from 2026-04-01T00:00:00Z: markup 2 -> 1.25"
    ]
    assert not await apply(connection, CATALOG, now=datetime(2026, 5, 1, tzinfo=UTC))


async def test_a_price_cannot_change_the_past(connection: asyncpg.Connection) -> None:
    await apply(connection, CATALOG, now=NOW)
    before = await rows(connection)
    with pytest.raises(
        CatalogError, match=r"^price acme/small: effective_from 2026-02-01T00:00:00\+00:00 is in the past"
    ):
        await apply(connection, CATALOG.replace("markup = 1.25", "markup = 2\neffective_from = 2026-02-01"), now=LATER)
    assert await rows(connection) == before


async def test_a_name_may_begin_in_the_past_once(connection: asyncpg.Connection) -> None:
    since = CATALOG.replace("markup = 1.25", "markup = 2\neffective_from = 2026-02-01")
    assert "+ price acme/small from 2026-02-01T00:00:00Z: markup 2" in (await apply(connection, since, now=NOW)).lines()
    assert not await apply(connection, since, now=LATER)


async def test_a_loss_is_refused_unless_it_is_meant(connection: asyncpg.Connection) -> None:
    cheap = CATALOG.replace("markup = 1.25", "input = 0.15\ncached_input = 0.07\noutput = 0.60")
    with pytest.raises(CatalogError) as raised:
        await apply(connection, cheap, now=NOW)
    (problem,) = raised.value.problems
    assert problem == (
        "price acme/small: acme/small would be sold below cost, cached_input at 0.07 for a cost of 0.075: "
        "raise it, or set allow_loss = true"
    )
    assert await rows(connection) == 0
    await apply(connection, cheap.replace("cached_input = 0.07\n", "cached_input = 0.07\nallow_loss = true\n"), now=NOW)
    assert await rows(connection) == 5


async def test_a_loss_that_begins_later_is_refused_now(connection: asyncpg.Connection) -> None:
    cost = CATALOG[CATALOG.index("[[cost_profile]]") : CATALOG.index("[[price]]")]
    dearer = cost.replace("0.60", "0.90") + "effective_from = 2026-06-01\n"
    own = CATALOG.replace("markup = 1.25", "input = 0.2\noutput = 0.8")
    await apply(connection, own, now=NOW)
    with pytest.raises(CatalogError, match=r"below cost, output at 0\.8 for a cost of 0\.9: raise it"):
        await apply(connection, own + dearer, now=NOW)


async def test_a_loss_that_was_there_before_does_not_block_other_changes(connection: asyncpg.Connection) -> None:
    await apply(connection, CATALOG.replace("markup = 1.25", "input = 0.2\noutput = 0.8"), now=NOW)
    await connection.execute(
        """insert into catalog_entry (kind, name, effective_from, document, source)
           select kind, name, effective_from + interval '1 hour', jsonb_set(document, '{rates,output}', '900000000'),
                  'genai-prices'
           from catalog_entry where kind = 'cost_profile'"""
    )
    text = CATALOG.replace("markup = 1.25", "input = 0.2\noutput = 0.8").replace("amount = 5", "amount = 6")
    without_cost = text[: text.index("[[cost_profile]]")] + text[text.index("[[price]]") :]
    difference = await apply(connection, without_cost, now=LATER)
    assert [line.split(":")[0] for line in difference.lines()] == ["~ pack starter"]
    assert any("output at 0.8 for a cost of 0.9" in warning for warning in difference.warnings)


async def test_all_problems_with_the_past_are_told_and_nothing_is_published(connection: asyncpg.Connection) -> None:
    await apply(connection, CATALOG, now=NOW)
    text = CATALOG.replace("output = 0.60", "output = 0.5\neffective_from = 2026-01-01")
    text = text.replace("markup = 1.25", "markup = 1.3\neffective_from = 2026-01-02")
    with pytest.raises(CatalogError) as raised:
        await apply(connection, text, now=LATER)
    assert [problem.split(":")[0] for problem in raised.value.problems] == [
        "cost_profile acme/small",
        "price acme/small",
    ]
    assert await rows(connection) == 5


async def test_a_price_set_by_hand_stays_when_a_file_without_it_is_applied(connection: asyncpg.Connection) -> None:
    price = CATALOG[CATALOG.index("[[price]]") : CATALOG.index("[[route]]")]
    text = CATALOG.replace(price, "")
    await apply(connection, text, now=NOW)
    difference = await set_price(connection, "acme", "small", now=NOW, markup=Decimal("1.3"))
    assert difference.lines() == ["+ price acme/small: markup 1.3"]
    assert not await apply(connection, text, now=LATER)
    # A file that names it takes it over, even with the same words.
    assert (await apply(connection, CATALOG.replace("1.25", "1.3"), now=LATER)).lines() == [
        "~ price acme/small: source cli -> file"
    ]


async def test_publishers_take_turns(pool: asyncpg.Pool) -> None:
    async def once() -> int:
        async with pool.acquire() as connection:
            return len((await apply(connection, CATALOG, now=NOW)).changes)

    assert sorted(await asyncio.gather(*(once() for _ in range(8)))) == [0] * 7 + [5]
    async with pool.acquire() as connection:
        assert await rows(connection) == 5


async def test_the_stored_document_is_whole(connection: asyncpg.Connection) -> None:
    await apply(connection, CATALOG, now=NOW)
    (version,) = await read.history(connection, "cost_profile", "acme/small")
    assert isinstance(version.document, CostProfile)
    stored = await connection.fetchval("select document from catalog_entry where id = $1", version.id)
    assert '"image_tokens_max": null' in stored
