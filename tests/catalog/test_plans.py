"""Plans on a real database and in the Book: a published version stays what it was, whoever reads it by its id."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

import asyncpg
import pytest

from tallystick.base.errors import NotFound
from tallystick.catalog import read
from tallystick.catalog.book import Book
from tallystick.catalog.errors import CatalogError, UnknownPlan
from tallystick.catalog.meters import BUILT_IN
from tallystick.catalog.publish import apply

EXAMPLE = (Path(__file__).parents[2] / "examples" / "catalog.toml").read_text()
NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
LATER = NOW + timedelta(days=10)
PRO = """
[[plan]]
slug = "pro"
name = "Pro"
strategy = "overage"
price = 99
credit_limit = 100
meters = [{ meter = "requests", allowance = 100_000, overage = { price = 0.50, per = 1_000 } }]
"""
FEATURE = """
[[feature]]
name = "ads"
title = "Ads"
limits = { free = 10, enterprise = "unlimited" }
"""
METER = """
[[meter]]
name = "video_second"
title = "Seconds of video"
unit = "second"
aggregation = "sum"
"""


async def book(connection: asyncpg.Connection, since: datetime = NOW) -> Book:
    return Book(await read.versions(connection, since))


async def test_the_shipped_example_is_applied_once(connection: asyncpg.Connection) -> None:
    difference = await apply(connection, EXAMPLE, now=NOW)
    kinds = [change.kind for change in difference.changes]
    assert [kinds.count(kind) for kind in ("plan", "meter", "feature")] == [6, 1, 23]
    assert difference.warnings == ()
    assert not await apply(connection, EXAMPLE, now=LATER)


async def test_what_is_new_is_shown_in_the_words_of_the_file(connection: asyncpg.Connection) -> None:
    assert (await apply(connection, PRO + FEATURE + METER, now=NOW)).lines() == [
        "+ meter video_second: title Seconds of video, unit second, aggregation sum",
        "+ feature ads: title Ads, limits.free 10, limits.enterprise unlimited",
        (
            "+ plan pro: name Pro, strategy overage, price 99.00 usd a month, tier free, "
            "meters.requests 100000 included then 0.50 per 1000, charges_models false, auth_modes credits, "
            "credit_limit 100.00, grace_days 7"
        ),
    ]


async def test_a_changed_plan_is_a_new_version_and_the_old_one_stays(connection: asyncpg.Connection) -> None:
    await apply(connection, PRO, now=NOW)
    old = (await book(connection)).plan("pro", NOW)
    changed = PRO.replace("100_000", "120_000, cap = 200_000").replace("99", "109")
    difference = await apply(connection, changed, now=LATER)
    assert difference.lines() == [
        (
            "~ plan pro: price 99.00 usd a month -> 109.00 usd a month, "
            "meters.requests 100000 included then 0.50 per 1000 -> 120000 included then 0.50 per 1000 up to 200000"
        )
    ]
    sold = await book(connection)
    new = sold.plan("pro", LATER)
    assert new.id != old.id
    assert (old.document.amount_minor, new.document.amount_minor) == (9900, 10900)
    assert sold.plan("pro", NOW).id == old.id
    assert await read.plan_version(connection, old.id) == old.document
    assert await read.plan_version(connection, new.id) == new.document
    assert [entry.id for entry in await read.history(connection, "plan", "pro")] == [new.id, old.id]


async def test_the_same_words_again_are_a_version_of_their_own(connection: asyncpg.Connection) -> None:
    """Who subscribed to the one in between keeps that, though the plan went back to what it was."""
    ids = []
    for number, text in enumerate((PRO, PRO.replace("99", "109"), PRO)):
        at = NOW + timedelta(days=number)
        await apply(connection, text, now=at)
        ids.append((await book(connection)).plan("pro", at).id)
    assert len(set(ids)) == 3
    amounts = [(await read.plan_version(connection, id_)).amount_minor for id_ in ids]
    assert amounts == [9900, 10900, 9900]


async def test_a_plan_that_left_the_file_is_not_sold_and_still_read(connection: asyncpg.Connection) -> None:
    await apply(connection, PRO + FEATURE, now=NOW)
    old = (await book(connection)).plan("pro", NOW)
    assert (await apply(connection, FEATURE, now=LATER)).lines() == ["- plan pro"]
    sold = await book(connection, LATER)
    assert list(sold.plans(LATER)) == []
    with pytest.raises(UnknownPlan):
        sold.plan("pro", LATER)
    assert await read.plan_version(connection, old.id) == old.document


async def test_a_plan_is_no_other_document(connection: asyncpg.Connection) -> None:
    await apply(connection, PRO + FEATURE, now=NOW)
    (feature,) = await read.history(connection, "feature", "ads")
    for id_ in (feature.id, 10**9):
        with pytest.raises(NotFound):
            await read.plan_version(connection, id_)


async def test_one_wrong_plan_publishes_nothing(connection: asyncpg.Connection) -> None:
    with pytest.raises(CatalogError):
        await apply(connection, FEATURE + PRO.replace("credit_limit = 100", ""), now=NOW)
    assert await connection.fetchval("select count(*) from catalog_entry") == 0


async def test_the_book_of_the_example(connection: asyncpg.Connection) -> None:
    await apply(connection, EXAMPLE, now=NOW)
    sold = await book(connection)
    assert [plan.document.slug for plan in sold.plans(NOW)] == [
        "payg",
        "prepaid",
        "starter",
        "pro",
        "studio",
        "enterprise",
    ]
    default = sold.default_plan(NOW)
    assert default is not None
    assert default.document.slug == "prepaid"
    assert sold.default_plan(NOW - timedelta(seconds=1)) is None
    assert set(sold.meters(NOW)) == {*BUILT_IN, "video_second"}
    assert set(sold.meters(NOW - timedelta(seconds=1))) == set(BUILT_IN)
    assert sold.features(NOW)["ad_generations"].limits == {"free": 10, "pro": 100, "enterprise": None}
    assert len(sold.features(NOW)) == 23


async def test_a_limit_can_change_for_everyone(connection: asyncpg.Connection) -> None:
    await apply(connection, FEATURE, now=NOW)
    assert (await apply(connection, FEATURE.replace("free = 10", 'free = "unlimited"'), now=LATER)).lines() == [
        "~ feature ads: limits.free 10 -> unlimited"
    ]
    sold = await book(connection)
    assert [sold.features(at)["ads"].limits["free"] for at in (NOW, LATER)] == [10, None]
