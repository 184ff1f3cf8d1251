"""Each organization gets one customer at Stripe, however Stripe fails, and wherever we die."""

import asyncio
from uuid import uuid4

import httpx
import pytest

from tallystick.accounts import organization, user
from tallystick.base.errors import Conflict, Misconfigured
from tallystick.payments.errors import PaymentPending
from tallystick.payments.provision import customer_of, provision_customers
from tallystick.payments.rename import rename_customers
from tallystick.payments.stripe.client import StripeClient

FAULTS = ["error_500", "unavailable_503", "rate_limited_429", "reset_before", "reset_after", "timeout"]


@pytest.fixture
async def ada(pool):
    """An owner whose organization is to be provisioned."""
    return await user.sign_up(pool, email=f"ada-{uuid4().hex}@example.com", password="correct horse", name="Ada's lab")


@pytest.fixture
async def impatient(stripe_address):
    """Gives up at once, as a process does that dies over its call."""
    client = StripeClient("sk_test_of_the_tests", api_base=stripe_address, timeout_s=0.5, retries=0)
    yield client
    await client.close()


@pytest.fixture
def at_stripe(stripe_address):
    async def ask(organization_id):
        async with httpx.AsyncClient(base_url=stripe_address, auth=("sk_test_of_the_tests", "")) as client:
            found = (await client.get("/v1/customers", params={"limit": 100})).json()["data"]
        return [one for one in found if one["metadata"].get("organization") == organization_id]

    return ask


@pytest.fixture
def later(pool):
    """As if this many minutes had passed."""

    async def wait(minutes):
        await pool.execute(
            "update provisioning set retry_at = retry_at - $1 * interval '1 minute',"
            " key_since = key_since - $1 * interval '1 minute', began_at = began_at - $1 * interval '1 minute'",
            minutes,
        )

    return wait


async def kept(pool, organization_id, *, livemode=False):
    return await pool.fetchval(
        "select id from stripe_customer where organization = $1 and livemode = $2", organization_id, livemode
    )


async def test_a_new_organization_gets_its_customer(pool, stripe, ada, at_stripe):
    assert await kept(pool, ada.organization_id) is None
    assert await provision_customers(pool, stripe) == 1
    [customer] = await at_stripe(ada.organization_id)
    assert (customer["name"], customer["email"][:4]) == ("Ada's lab", "ada-")
    assert await kept(pool, ada.organization_id) == customer["id"]
    assert await provision_customers(pool, stripe) == 0


async def test_one_without_an_owner_has_no_address(pool, stripe, at_stripe):
    async with pool.acquire() as connection:
        made = await organization.create(connection, name="Acme")
    await provision_customers(pool, stripe)
    [customer] = await at_stripe(made.id)
    assert (customer["name"], customer["email"]) == ("Acme", None)


async def test_several_at_once_make_one(pool, stripe, at_stripe):
    ids = []
    for number in range(15):
        async with pool.acquire() as connection:
            ids.append((await organization.create(connection, name=f"Org {number}")).id)
    made = await asyncio.gather(*(provision_customers(pool, stripe) for _ in range(3)))
    assert sum(made) == 15
    assert [len(await at_stripe(one)) for one in ids] == [1] * 15


@pytest.mark.parametrize("kind", FAULTS)
async def test_a_failure_of_stripe_makes_no_second_one(pool, impatient, stripe, ada, at_stripe, control, later, kind):
    await control("faults", kind=kind, path="/v1/customers", method="POST", seconds=1.0)
    assert await provision_customers(pool, impatient) == 0
    assert await pool.fetchval("select problem from provisioning where done_at is null and not livemode") is not None
    assert await provision_customers(pool, stripe) == 0, "not again before its time"
    for _ in range(5):
        await later(3)
        await provision_customers(pool, stripe)
    [customer] = await at_stripe(ada.organization_id)
    assert await kept(pool, ada.organization_id) == customer["id"]


async def test_a_key_that_stripe_answers_with_its_failure_is_given_up(pool, stripe, ada, at_stripe, control, later):
    await control("faults", kind="error_500", path="/v1/customers", method="POST")
    assert await provision_customers(pool, stripe) == 0
    await later(3)
    # The same key: Stripe would say the same thing for a day.
    assert await provision_customers(pool, stripe) == 0
    await later(9)
    assert await provision_customers(pool, stripe) == 1
    [customer] = await at_stripe(ada.organization_id)
    assert await kept(pool, ada.organization_id) == customer["id"]


async def test_a_customer_that_was_made_is_found_when_its_key_is_forgotten(
    pool, impatient, stripe, ada, at_stripe, control, later
):
    await control("faults", kind="reset_after", path="/v1/customers", method="POST")
    assert await provision_customers(pool, impatient) == 0
    # A key that Stripe never saw is as one that it forgot.
    await pool.execute("update provisioning set generation = 7 where generation > 0")
    await later(11)
    assert await provision_customers(pool, stripe) == 1
    [customer] = await at_stripe(ada.organization_id)
    assert await kept(pool, ada.organization_id) == customer["id"]


async def test_what_is_sent_under_a_key_stays_though_the_organization_changes(
    pool, impatient, stripe, ada, at_stripe, control, later
):
    await control("faults", kind="reset_after", path="/v1/customers", method="POST")
    await provision_customers(pool, impatient)
    await pool.execute("update organization set name = 'Renamed'")
    await later(3)
    assert await provision_customers(pool, stripe) == 1
    assert [customer["name"] for customer in await at_stripe(ada.organization_id)] == ["Ada's lab"]
    assert await rename_customers(pool, stripe) == 1
    assert [customer["name"] for customer in await at_stripe(ada.organization_id)] == ["Renamed"]


async def test_a_name_that_stripe_refuses_keeps_nobody_from_paying(pool, stripe, ada, at_stripe):
    await pool.execute("update organization set name = repeat('x', 6000)")
    assert await provision_customers(pool, stripe) == 1
    [customer] = await at_stripe(ada.organization_id)
    assert (customer["name"], customer["email"]) == (None, None)


async def test_a_key_that_was_used_for_something_else_makes_no_second_one(pool, stripe, ada, at_stripe):
    await provision_customers(pool, stripe)
    await pool.execute("delete from stripe_customer")
    await pool.execute(
        "update provisioning set done_at = null, retry_at = clock_timestamp(), name = 'Other' where done_at is not null"
    )
    assert await provision_customers(pool, stripe) == 1
    [customer] = await at_stripe(ada.organization_id)
    assert await kept(pool, ada.organization_id) == customer["id"]


async def test_a_purchase_that_was_faster_keeps_its_customer(pool, stripe, ada, at_stripe):
    await pool.execute(
        "insert into stripe_customer (organization, livemode, id) values ($1, false, 'cus_first')", ada.organization_id
    )
    await provision_customers(pool, stripe)
    assert await at_stripe(ada.organization_id) == []
    assert await kept(pool, ada.organization_id) == "cus_first"
    assert await pool.fetchval("select count(*) from provisioning where done_at is not null") == 1


async def test_purchases_at_the_same_time_have_the_same_customer(pool, stripe, ada, at_stripe):
    first, _made, *others = await asyncio.gather(
        customer_of(pool, stripe, ada.organization_id),
        provision_customers(pool, stripe),
        *(customer_of(pool, stripe, ada.organization_id) for _ in range(3)),
    )
    [customer] = await at_stripe(ada.organization_id)
    assert {first, *others, await kept(pool, ada.organization_id)} == {customer["id"]}
    assert customer["name"] == "Ada's lab"


async def test_a_purchase_goes_on_where_the_upkeep_had_no_answer(pool, impatient, stripe, ada, at_stripe, control):
    await control("faults", kind="reset_after", path="/v1/customers", method="POST")
    assert await provision_customers(pool, impatient) == 0
    bought_by = await customer_of(pool, stripe, ada.organization_id)
    assert [customer["id"] for customer in await at_stripe(ada.organization_id)] == [bought_by]
    assert await pool.fetchval("select count(*) from provisioning where done_at is not null") == 1


async def test_a_purchase_with_a_name_that_stripe_refuses_has_a_customer(pool, stripe, ada, at_stripe):
    await pool.execute("update organization set name = repeat('x', 6000)")
    found = await asyncio.gather(*(customer_of(pool, stripe, ada.organization_id) for _ in range(3)))
    assert {customer["id"] for customer in await at_stripe(ada.organization_id)} == set(found)
    assert len(set(found)) == 1


async def test_a_purchase_is_pending_while_nobody_knows_and_not_for_long(pool, stripe, ada, at_stripe, control, later):
    await control("faults", kind="error_500", path="/v1/customers", method="POST")
    # The key's answer for a day, as its second try shows; then its last call may be under way; then there is another.
    for minutes in (0, 5, 4.5):
        await later(minutes)
        with pytest.raises(PaymentPending):
            await customer_of(pool, stripe, ada.organization_id)
    assert await at_stripe(ada.organization_id) == []
    await later(1)
    made = await asyncio.gather(*(customer_of(pool, stripe, ada.organization_id) for _ in range(3)))
    assert [customer["id"] for customer in await at_stripe(ada.organization_id)] == [made[0]]
    assert set(made) == {made[0]}


async def test_a_key_that_is_wrong_is_said_and_loses_nothing(pool, stripe, stripe_address, ada, later):
    wrong = StripeClient("pk_nobody", api_base=stripe_address, retries=0)
    with pytest.raises(Misconfigured):
        await provision_customers(pool, wrong)
    await wrong.close()
    said = await pool.fetchval("select problem from provisioning where not livemode")
    assert said == "Stripe does not take this server's key."
    await later(1)
    assert await provision_customers(pool, stripe) == 1


async def test_live_mode_is_provisioned_by_itself(pool, stripe, ada):
    await provision_customers(pool, stripe)
    assert await kept(pool, ada.organization_id, livemode=True) is None
    assert await pool.fetchval("select livemode from provisioning where done_at is null") is True


async def test_a_customer_that_is_another_organizations_ends_nothing(pool, stripe, ada, at_stripe, later):
    """As after a copy of these books, or of what is at Stripe, was used for something else."""
    await provision_customers(pool, stripe)
    [customer] = await at_stripe(ada.organization_id)
    async with pool.acquire() as connection:
        eve = (await organization.create(connection, name="Eve")).id
        await connection.execute(
            "update stripe_customer set organization = $1 where organization = $2", eve, ada.organization_id
        )
        await connection.execute("update provisioning set done_at = null where not livemode")
        await connection.execute("update provisioning set generation = 1, key_since = now(), began_at = now()")
        await connection.execute("update provisioning set done_at = null, name = 'Eve' where organization = $1", eve)
    await later(11)
    with pytest.raises(Conflict):
        await customer_of(pool, stripe, ada.organization_id)
    with pytest.raises(Conflict):
        await provision_customers(pool, stripe)
    await pool.execute("update organization set name = name || ' Ltd'")
    assert await rename_customers(pool, stripe) == 1, "of the one who has a customer"
    await pool.execute("delete from stripe_customer")
    await later(11)
    assert await customer_of(pool, stripe, ada.organization_id) == customer["id"]


async def test_one_that_is_renamed_as_its_customer_is_kept_is_done_and_renamed(pool, stripe, ada, at_stripe):
    # Under a key of before, so that nobody needs the row that the new name locks until the customer is kept.
    await pool.execute("update provisioning set generation = 1, key_since = now(), began_at = now(), name = 'Ada'")
    async with pool.acquire() as connection:
        transaction = connection.transaction()
        await transaction.start()
        await organization.rename(connection, ada.organization_id, name="Lovelace Ltd", by=ada.user_id)
        buying = asyncio.create_task(customer_of(pool, stripe, ada.organization_id))
        while await kept(pool, ada.organization_id) is None:
            await asyncio.sleep(0.01)
        await asyncio.sleep(0.1)
        assert not buying.done(), "it waits for the new name"
        await transaction.commit()
    await buying
    assert await pool.fetchval("select count(*) from provisioning where done_at is not null") == 1
    assert await rename_customers(pool, stripe) == 1
    assert [customer["name"] for customer in await at_stripe(ada.organization_id)] == ["Lovelace Ltd"]


async def test_every_try_of_a_long_outage_asks_stripe(pool, stripe, ada, control, later):
    """None falls into the minute in which nobody asks under the old key, and nobody takes another yet."""
    await control("faults", kind="unavailable_503", path="/v1/customers", method="POST", times=1_000)
    keys = []
    for _ in range(7):
        await provision_customers(pool, stripe)
        row = await pool.fetchrow(
            "select generation, extract(epoch from retry_at - clock_timestamp()) / 60 as minutes from provisioning"
            " where not livemode"
        )
        keys.append(row["generation"])
        await later(float(row["minutes"]))
    assert keys == [1, 1, 1, 1, 2, 3, 4]
