from decimal import Decimal

import pytest

from tallystick.base.errors import InvalidAmount, InvalidInput
from tallystick.library.inputs import nanocredits, sequence_number, text


@pytest.mark.parametrize(
    ("amount", "nano"),
    [
        (25, 25 * 10**9),
        (0.05, 50_000_000),
        (Decimal("0.000000001"), 1),
        (Decimal("1E+2"), 100 * 10**9),
        (1e-9, 1),
        (2.5, 2_500_000_000),
    ],
)
def test_numbers_are_exact(amount, nano):
    assert nanocredits(amount) == nano


@pytest.mark.parametrize(
    "amount",
    [
        0,
        -1,
        -0.0,
        True,
        None,
        "5",
        [5],
        float("nan"),
        float("inf"),
        Decimal("NaN"),
        Decimal("-Infinity"),
        Decimal("sNaN"),
        0.1 + 0.2,
        1e-10,
        Decimal("0.0000000001"),
        10**30,
        1e300,
    ],
)
def test_what_is_no_amount_is_refused(amount):
    with pytest.raises(InvalidAmount) as refused:
        nanocredits(amount)
    assert refused.value.field == "amount"


@pytest.mark.parametrize("value", ["", "x" * 201, "a\x00b", "line\nbreak", "\ud800", None, 5, ["x"]])
def test_text_is_short_and_printable(value):
    with pytest.raises(InvalidInput, match="request_id"):
        text(value, "request_id")


@pytest.mark.parametrize("cursor", ["", "-1", "1.5", "٣", "9" * 19, "1" * 30, " 1", "x"])
def test_a_cursor_is_one_of_ours(cursor):
    with pytest.raises(InvalidInput, match="cursor"):
        sequence_number(cursor)
