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
