"""An organization's customer at Stripe follows its name, however Stripe fails."""

import asyncio
from uuid import uuid4

import pytest

from tallystick.accounts import organization, user
from tallystick.base.errors import Misconfigured
from tallystick.payments.customer import find_customer
from tallystick.payments.provision import provision_customers
from tallystick.payments.rename import rename_customers
from tallystick.payments.stripe.client import StripeClient


async def signed_up(pool):
    return await user.sign_up(pool, email=f"ada-{uuid4().hex}@example.com", password="correct horse", name="Ada")


@pytest.fixture
async def ada(pool, stripe):
    """The owner of an organization that is a customer."""
    welcome = await signed_up(pool)
    await provision_customers(pool, stripe)
    return welcome


@pytest.fixture
def rename(pool):
    async def give(owner, name):
        async with pool.acquire() as connection:
            await organization.rename(connection, owner.organization_id, name=name, by=owner.user_id)

    return give


@pytest.fixture
def named(pool, stripe):
    """How the customer is called at Stripe."""

    async def ask(owner):
        customer = await find_customer(pool, owner.organization_id, livemode=False)
        return (await stripe.v1.customers.retrieve_async(customer)).name

    return ask


async def a_minute_passes(pool):
    await pool.execute("update provisioning set rename_at = rename_at - interval '1 minute'")


async def test_the_customer_is_renamed_once(pool, stripe, ada, rename, named):
    assert await rename_customers(pool, stripe) == 0
    await rename(ada, "Ada's lab")
    await rename(ada, "Lovelace Ltd")
    assert await rename_customers(pool, stripe) == 1
    assert await named(ada) == "Lovelace Ltd"
    assert await rename_customers(pool, stripe) == 0


async def test_a_name_that_stays_is_not_told(pool, stripe, ada, rename):
    await rename(ada, "Ada")
    assert await rename_customers(pool, stripe) == 0


async def test_who_is_no_customer_yet_is_told_of_once_they_are(pool, stripe, rename, named):
    eve = await signed_up(pool)
    await rename(eve, "Eve's lab")
    assert await rename_customers(pool, stripe) == 0
    await provision_customers(pool, stripe)
    assert await rename_customers(pool, stripe) == 1
    assert await named(eve) == "Eve's lab"


@pytest.mark.parametrize("kind", ["unavailable_503", "rate_limited_429", "reset_before", "reset_after"])
async def test_a_failure_of_stripe_is_tried_again(pool, stripe, ada, rename, named, control, kind):
    await rename(ada, "Ada's lab")
    await control("faults", kind=kind, path="/v1/customers/", method="POST", times=2)
    assert await rename_customers(pool, stripe) == 0
    await rename(ada, "Lovelace Ltd")
    assert await rename_customers(pool, stripe) == 0, "a call of before may still be under way"
    await a_minute_passes(pool)
    assert await rename_customers(pool, stripe) == 1
    assert await named(ada) == "Lovelace Ltd"


async def test_whatever_goes_on_at_once_the_last_name_stays(pool, stripe, ada, rename, named):
    for number in range(5):
        await asyncio.gather(
            rename_customers(pool, stripe), rename(ada, f"Ada {number}"), rename_customers(pool, stripe)
        )
    await rename_customers(pool, stripe)
    await a_minute_passes(pool)
    await rename_customers(pool, stripe)
    assert await named(ada) == "Ada 4"
    assert await pool.fetchval("select count(*) from provisioning where rename_at is not null and not livemode") == 0


async def test_a_customer_that_is_gone_at_stripe_keeps_no_other_from_being_renamed(pool, stripe, ada, rename, named):
    eve = await signed_up(pool)
    await provision_customers(pool, stripe)
    await stripe.v1.customers.delete_async(await find_customer(pool, ada.organization_id, livemode=False))
    await rename(ada, "Ada's lab")
    await rename(eve, "Eve's lab")
    await rename_customers(pool, stripe)
    assert await named(eve) == "Eve's lab"
    await a_minute_passes(pool)
    assert await rename_customers(pool, stripe) == 0, "not for ever"


async def test_with_a_key_that_is_wrong_no_name_is_lost(pool, stripe, stripe_address, ada, rename, named):
    await rename(ada, "Ada's lab")
    wrong = StripeClient("pk_nobody", api_base=stripe_address, retries=0)
    with pytest.raises(Misconfigured):
        await rename_customers(pool, wrong)
    await wrong.close()
    await a_minute_passes(pool)
    assert await rename_customers(pool, stripe) == 1
    assert await named(ada) == "Ada's lab"
