import pytest
import stripe


@pytest.fixture
def paid(shop):
    return shop.v1.payment_intents.create(
        {"amount": 2500, "currency": "usd", "payment_method": "pm_card_visa", "confirm": True}
    )


async def test_in_parts_up_to_what_was_paid(sandbox, shop, receiver, paid):
    part = shop.v1.refunds.create({"payment_intent": paid.id, "amount": 1000, "metadata": {"why": "test"}})
    assert (part.status, part.amount, part.charge) == ("succeeded", 1000, paid.latest_charge)
    assert shop.v1.refunds.retrieve(part.id).metadata.to_dict() == {"why": "test"}
    with pytest.raises(stripe.InvalidRequestError, match=r"\$20.00.*\$15.00"):
        shop.v1.refunds.create({"payment_intent": paid.id, "amount": 2000})
    rest = shop.v1.refunds.create({"charge": paid.latest_charge})
    assert rest.amount == 1500
    charge = shop.v1.charges.retrieve(paid.latest_charge)
    assert (charge.refunded, charge.amount_refunded) == (True, 2500)
    with pytest.raises(stripe.InvalidRequestError) as refused:
        shop.v1.refunds.create({"payment_intent": paid.id})
    assert refused.value.code == "charge_already_refunded"
    await sandbox.delivered()
    assert receiver.types().count("charge.refunded") == 2


def test_the_balance_is_what_came_in_less_fees_and_refunds(shop, paid):
    charge = shop.v1.charges.retrieve(paid.latest_charge, {"expand": ["balance_transaction"]})
    taken = charge.balance_transaction
    assert (taken.amount, taken.fee, taken.net) == (2500, 103, 2397)  # 2.9 % of $25.00 is $0.725, and $0.30
    refund = shop.v1.refunds.create({"charge": charge.id, "expand": ["balance_transaction"]})
    assert (refund.balance_transaction.net, refund.balance_transaction.fee) == (-2500, 0)


def test_nothing_paid_is_nothing_to_refund(shop):
    intent = shop.v1.payment_intents.create({"amount": 900, "currency": "eur"})
    with pytest.raises(stripe.InvalidRequestError, match="does not have a successful charge"):
        shop.v1.refunds.create({"payment_intent": intent.id})
