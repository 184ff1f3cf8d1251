import pytest

from tallystick.sandbox.stripe.form import decode
from tallystick.sandbox.stripe.refusal import Refusal


def test_brackets_nest():
    text = "mode=payment&line_items[0][price_data][currency]=usd&line_items[1][quantity]=2&metadata[a%20b]=x%3Dy"
    assert decode(text) == {
        "mode": "payment",
        "line_items": {"0": {"price_data": {"currency": "usd"}}, "1": {"quantity": "2"}},
        "metadata": {"a b": "x=y"},
    }


def test_empty_brackets_append():
    assert decode("expand[]=customer&expand[]=payment_intent") == {"expand": {"0": "customer", "1": "payment_intent"}}


def test_an_empty_value_stays_to_unset_a_field():
    assert decode("email=&name=A") == {"email": "", "name": "A"}


@pytest.mark.parametrize("text", ["a=1&a[b]=2", "a[b=1", "]=1", "a" + "[x]" * 20 + "=1", "a=%ff"])
def test_what_is_no_form_is_refused(text):
    with pytest.raises(Refusal) as refused:
        decode(text)
    assert refused.value.status == 400
    assert not refused.value.kept
