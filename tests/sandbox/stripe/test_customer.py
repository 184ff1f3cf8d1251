import pytest
import stripe


def test_created_retrieved_updated(shop):
    made = shop.v1.customers.create(
        {"email": "ann@example.com", "name": "Ann", "metadata": {"org": "org_1", "0": "zero"}}
    )
    assert made.id.startswith("cus_")
    assert made.metadata.to_dict() == {"org": "org_1", "0": "zero"}
    shop.v1.customers.update(made.id, {"name": "", "metadata": {"0": "", "plan": "pro"}, "address": {"city": "Bern"}})
    found = shop.v1.customers.retrieve(made.id)
    assert (found.email, found.name, found.metadata.to_dict()) == (
        "ann@example.com",
        None,
        {"org": "org_1", "plan": "pro"},
    )
    assert found.address.city == "Bern"
    assert found.livemode is False


def test_metadata_as_a_whole_can_be_removed(shop):
    made = shop.v1.customers.create({"metadata": {"a": "1"}})
    assert shop.v1.customers.update(made.id, {"metadata": ""}).metadata.to_dict() == {}


def test_listed_in_pages_newest_first(shop):
    email = "pages@example.com"
    made = [shop.v1.customers.create({"email": email}).id for _ in range(5)]
    first = shop.v1.customers.list({"email": email, "limit": 2})
    assert [row.id for row in first.data] == [made[4], made[3]]
    assert first.has_more
    second = shop.v1.customers.list({"email": email, "limit": 2, "starting_after": made[3]})
    assert [row.id for row in second.data] == [made[2], made[1]]
    back = shop.v1.customers.list({"email": email, "limit": 2, "ending_before": made[1]})
    assert [row.id for row in back.data] == [made[3], made[2]]
    assert [row.id for row in first.auto_paging_iter()] == list(reversed(made))


def test_deleted_is_shown_as_deleted_and_not_listed(shop):
    made = shop.v1.customers.create({"email": "gone@example.com"})
    assert shop.v1.customers.delete(made.id).deleted
    assert shop.v1.customers.retrieve(made.id).deleted
    assert shop.v1.customers.list({"email": "gone@example.com"}).data == []


# The SDK hands httpx its form as text, which httpx has begun to warn about.
@pytest.mark.filterwarnings("ignore:Use 'content=:DeprecationWarning")
@pytest.mark.parametrize("kind", [stripe.HTTPXClient, stripe.AIOHTTPClient])
async def test_the_asynchronous_sdk_works_too(sandbox, kind):
    http_client = kind()
    client = sandbox.client(http_client=http_client)
    made = await client.v1.customers.create_async({"email": "async@example.com"})
    found = await client.v1.customers.retrieve_async(made.id)
    assert found.email == "async@example.com"
    await http_client.close_async()


@pytest.mark.parametrize(
    ("metadata", "param"),
    [
        ({"k" * 41: "v"}, f"metadata[{'k' * 41}]"),
        ({"k": "v" * 501}, "metadata[k]"),
        ({str(number): "v" for number in range(51)}, "metadata"),
    ],
)
def test_metadata_has_limits(shop, metadata, param):
    with pytest.raises(stripe.InvalidRequestError) as refused:
        shop.v1.customers.create({"metadata": metadata})
    assert refused.value.param == param
