"""Prices and products: what recurs, what is looked up, what may change."""

import pytest
import stripe


@pytest.fixture
def product(shop):
    return shop.v1.products.create({"name": "Plan"})


def price(shop, product, **more):
    return shop.v1.prices.create({"currency": "usd", "unit_amount": 2000, "product": product.id, **more})


def test_a_price_recurs_or_does_not(shop, product):
    once, monthly = price(shop, product), price(shop, product, recurring={"interval": "month", "interval_count": 3})
    assert (once.type, once.recurring) == ("one_time", None)
    assert (monthly.type, monthly.recurring.interval, monthly.recurring.interval_count) == ("recurring", "month", 3)
    assert (monthly.recurring.usage_type, monthly.recurring.meter) == ("licensed", None)
    found = shop.v1.prices.list({"product": product.id, "type": "recurring"}).data
    assert [row.id for row in found] == [monthly.id]


def test_an_amount_may_be_finer_than_a_cent(shop, product):
    fine = price(shop, product, unit_amount=None, unit_amount_decimal="0.0125")
    assert (fine.unit_amount, str(fine.unit_amount_decimal)) == (None, "0.0125")
    whole = price(shop, product, unit_amount=None, unit_amount_decimal="250.00")
    assert (whole.unit_amount, str(whole.unit_amount_decimal)) == (250, "250")


@pytest.mark.parametrize(
    ("wrong", "param"),
    [
        ({"recurring": {"interval": "fortnight"}}, "recurring[interval]"),
        ({"recurring": {"interval": "year", "interval_count": 4}}, "recurring[interval_count]"),
        ({"recurring": {"interval": "month", "usage_type": "metered"}}, "recurring[meter]"),
        ({"recurring": {"interval": "month", "meter": "mtr_x"}}, "recurring[meter]"),
        (
            {"recurring": {"interval": "month", "usage_type": "metered", "meter": "mtr_nobody"}},
            "recurring[meter]",
        ),
        ({"unit_amount_decimal": "1"}, "unit_amount_decimal"),
        ({"unit_amount": None, "unit_amount_decimal": "NaN"}, "unit_amount_decimal"),
        ({"unit_amount": None, "unit_amount_decimal": "-1"}, "unit_amount_decimal"),
        ({"unit_amount": None, "unit_amount_decimal": "0.0000000000001"}, "unit_amount_decimal"),
    ],
)
def test_a_wrong_price_is_refused(shop, product, wrong, param):
    with pytest.raises(stripe.InvalidRequestError) as refused:
        price(shop, product, **wrong)
    assert refused.value.param == param


def test_a_lookup_key_leads_to_one_price(shop, product):
    first = price(shop, product, lookup_key="pro_monthly")
    with pytest.raises(stripe.InvalidRequestError, match="already uses that lookup key"):
        price(shop, product, lookup_key="pro_monthly")
    second = price(shop, product, unit_amount=3000, lookup_key="pro_monthly", transfer_lookup_key=True)
    found = shop.v1.prices.list({"lookup_keys": ["pro_monthly", "nobody"]}).data
    assert [row.id for row in found] == [second.id]
    assert shop.v1.prices.retrieve(first.id).lookup_key is None
    shop.v1.prices.update(first.id, {"lookup_key": "pro_monthly", "transfer_lookup_key": True})
    assert shop.v1.prices.list({"lookup_keys": ["pro_monthly"]}).data[0].id == first.id


def test_what_is_retired_is_not_sold(shop, product):
    old = price(shop, product, recurring={"interval": "month"})
    shop.v1.prices.update(old.id, {"active": False, "metadata": {"why": "dear"}, "nickname": "Old"})
    assert shop.v1.prices.list({"product": product.id, "active": True}).data == []
    retired = shop.v1.prices.list({"product": product.id, "active": False}).data[0]
    assert (retired.nickname, retired.metadata.to_dict()) == ("Old", {"why": "dear"})
    event = shop.v1.events.list({"type": "price.updated", "limit": 1}).data[0]
    assert event.data.previous_attributes.to_dict() == {"active": True, "metadata": {"why": None}, "nickname": None}
    customer = shop.v1.customers.create({})
    with pytest.raises(stripe.InvalidRequestError, match="inactive"):
        shop.v1.subscriptions.create({"customer": customer.id, "items": [{"price": old.id}]})
    with pytest.raises(stripe.InvalidRequestError, match="unknown parameter: unit_amount"):
        shop.v1.prices.update(old.id, {"unit_amount": 1})


def test_a_product_changes(shop, product):
    default = price(shop, product)
    changes = {"name": "Plan B", "active": False, "metadata": {"a": "b"}, "default_price": default.id}
    changed = shop.v1.products.update(product.id, changes)
    assert (changed.name, changed.active, changed.default_price) == ("Plan B", False, default.id)
    named = shop.v1.products.create({"id": "plan_by_name", "name": "Named"})
    assert shop.v1.products.retrieve("plan_by_name").id == named.id
    with pytest.raises(stripe.InvalidRequestError, match="already exists"):
        shop.v1.products.create({"id": "plan_by_name", "name": "Named"})
    assert {row.id for row in shop.v1.products.list({"ids": [named.id, product.id]}).data} == {named.id, product.id}
