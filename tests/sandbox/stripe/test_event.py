import contextlib

import httpx
import pytest
import stripe


def test_filtered_by_type_and_time(shop):
    before = shop.v1.customers.create({"email": "event@example.com"})
    shop.v1.customers.update(before.id, {"name": "E"})
    shop.v1.products.create({"name": "P"})
    updated = shop.v1.events.list({"type": "customer.updated", "limit": 1}).data[0]
    assert updated.data.object["id"] == before.id
    assert updated.data.object["name"] == "E"
    created = shop.v1.events.list({"types": ["customer.created", "customer.updated"], "limit": 2}).data
    assert [event.type for event in created] == ["customer.updated", "customer.created"]
    assert created[1].data.object["name"] is None  # as it was then, not as it is now
    wildcard = shop.v1.events.list({"type": "customer.*", "limit": 1}).data[0]
    assert wildcard.id == updated.id
    assert shop.v1.events.list({"created": {"gt": updated.created + 60}}).data == []
    assert shop.v1.events.list({"type": "customer.updated", "created": {"gte": updated.created}, "limit": 1}).data
    assert shop.v1.events.retrieve(updated.id).id == updated.id


def test_every_event_is_reached_page_by_page(shop):
    made = {shop.v1.products.create({"name": f"P{number}"}).id for number in range(7)}
    events = shop.v1.events.list({"type": "product.created", "limit": 3})
    first_seven = [event.data.object["id"] for event, _ in zip(events.auto_paging_iter(), range(7), strict=False)]
    assert set(first_seven) == made


@pytest.mark.parametrize("wrong", [{"limit": 0}, {"limit": 101}, {"starting_after": "evt_nobody"}, {"colour": "red"}])
def test_wrong_filters_are_refused(shop, wrong):
    with pytest.raises(stripe.InvalidRequestError):
        shop.v1.events.list(wrong)


async def test_what_was_never_taken_can_be_listed_and_then_was(sandbox, shop, receiver):
    await sandbox.control("webhooks/rules", hold=True, copies=2)
    customer = shop.v1.customers.create({"email": "late@example.com"})
    wanted = {"type": "customer.created", "created": {"gte": customer.created}}

    def about(delivered):
        found = shop.v1.events.list({**wanted, "delivery_success": delivered}).data
        return [event.data.object["id"] for event in found].count(customer.id)

    assert (about(False), about(True)) == (1, 0)
    await sandbox.control("webhooks/release")
    await sandbox.delivered()
    assert (about(False), about(True)) == (0, 1)
    (event,) = [one for one in shop.v1.events.list(wanted).data if one.data.object["id"] == customer.id]
    assert event.pending_webhooks == 0


def test_they_are_gone_after_thirty_days(start):
    with (
        start("tallystick.sandbox.stripe") as address,
        contextlib.closing(stripe.RequestsClient()) as http_client,
    ):
        client = stripe.StripeClient("sk_test_x", base_addresses={"api": address}, http_client=http_client)
        client.v1.customers.create({"email": "old@example.com"})
        (old,) = client.v1.events.list().data
        httpx.post(f"{address}/_sandbox/clock", json={"advance_s": 29 * 24 * 3600})
        client.v1.customers.create({"email": "new@example.com"})
        assert len(client.v1.events.list().data) == 2
        httpx.post(f"{address}/_sandbox/clock", json={"advance_s": 24 * 3600 + 1})
        assert [event.data.object["email"] for event in client.v1.events.list().data] == ["new@example.com"]
        with pytest.raises(stripe.InvalidRequestError):
            client.v1.events.retrieve(old.id)
