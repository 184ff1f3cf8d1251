"""Overrides: what is agreed with one organization outlasts its plans."""

import asyncio

import msgspec
import pytest

from tallystick.base.errors import InvalidInput, NotFound
from tallystick.catalog.plan import PlanRates
from tallystick.catalog.publish import apply
from tallystick.constraints.subscriber import Overrides
from tallystick.subscriptions import subscription
from tallystick.subscriptions.cancel import cancel
from tallystick.subscriptions.override import override
from tallystick.subscriptions.publish import find_subscriber
from tallystick.subscriptions.subscribe import subscribe
from tests.subscriptions.shop import CATALOG, at

AGREED = Overrides(
    quotas={"reports": None},
    rates=PlanRates(requests_per_minute=7),
    credit_limit=5 * 10**9,
    metered_enabled=True,
)


async def test_it_is_in_the_document_with_and_without_a_plan(connection, acme, told, document):
    assert await override(connection, acme.id, lambda _none: AGREED) == AGREED
    assert (await find_subscriber(connection, acme.id)).overrides == AGREED
    await subscribe(connection, acme.id, "starter")
    await cancel(connection, acme.id, at_once=True)
    assert await told() == (3, 3, 3)
    found = await document()
    assert (found.quotas, found.rates.requests_per_minute) == ({"reports": None}, 7)
    assert found.auth_modes[-1] == "metered"
    assert found.credit_limit == 5 * 10**9
    floor = await connection.fetchval("select floor from ledger_account where id = $1", acme.account)
    assert floor == -5 * 10**9


async def test_it_is_taken_back(connection, acme, told, document):
    await override(connection, acme.id, lambda _none: AGREED)
    await override(connection, acme.id, lambda _agreed: Overrides())
    assert (await document()).quotas == {"reports": 10}
    assert await told() == (2, 2, 2)
    (taken_back, _agreed) = await subscription.history(connection, acme.id)
    assert msgspec.convert(msgspec.json.decode(taken_back.before), Overrides) == AGREED


async def test_two_edits_at_once_both_count(pool, connection, acme):
    async def edit(**fields):
        async with pool.acquire() as other:
            await override(other, acme.id, lambda agreed: msgspec.structs.replace(agreed, **fields))

    await asyncio.gather(edit(credit_limit=1), edit(metered_enabled=True), edit(quotas={"reports": 3}))
    assert (await find_subscriber(connection, acme.id)).overrides == Overrides(
        quotas={"reports": 3}, credit_limit=1, metered_enabled=True
    )


@pytest.mark.parametrize(
    "wrong",
    [
        Overrides(quotas={"raports": 3}),
        Overrides(quotas={"reports": -1}),
        Overrides(rates=PlanRates(concurrency=0)),
        Overrides(credit_limit=-1),
        Overrides(credit_limit=10**17),
    ],
)
async def test_what_makes_no_sense_is_refused(connection, acme, told, wrong):
    with pytest.raises(InvalidInput):
        await override(connection, acme.id, lambda _none: wrong)
    assert await told() == (0, 0, 0)


async def test_a_feature_that_left_the_catalog_may_stay_agreed_on(connection, acme):
    await override(connection, acme.id, lambda _none: AGREED)
    await apply(connection, CATALOG.replace('name = "reports"', 'name = "charts"'), now=at("2024-01-01"))
    await override(connection, acme.id, lambda agreed: msgspec.structs.replace(agreed, credit_limit=None))


async def test_nobody_has_nothing_agreed(connection, shop):
    with pytest.raises(NotFound):
        await find_subscriber(connection, "org_nobody")
    with pytest.raises(NotFound):
        await override(connection, "org_nobody", lambda agreed: agreed)
