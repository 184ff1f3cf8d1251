import decimal
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tallystick.base.errors import InvalidAmount
from tallystick.base.money import (
    AMOUNT_MAX_NANO,
    NANO,
    format_amount,
    from_minor,
    parse_amount,
    to_decimal,
    to_minor,
)


@pytest.mark.parametrize(
    ("value", "nano"),
    [
        (25, 25 * NANO),
        ("25", 25 * NANO),
        ("18.50", 18_500_000_000),
        (Decimal("18.5"), 18_500_000_000),
        (Decimal("0.000000001"), 1),
        ("0.000000001", 1),
        (".5", NANO // 2),
        ("5.", 5 * NANO),
        ("007", 7 * NANO),
        (Decimal("1E+3"), 1000 * NANO),
        # More than nine decimals written, nine meant.
        (Decimal("1.10000000000"), 1_100_000_000),
        ("9000000", AMOUNT_MAX_NANO),
        (9_000_000, AMOUNT_MAX_NANO),
    ],
)
def test_plain_positive_decimals_are_exact(value: object, nano: int) -> None:
    assert parse_amount(value) == nano


@pytest.mark.parametrize(
    "value",
    [
        None, True, False, 1.5, 0.1, float("nan"), float("inf"), b"5", [5], {"amount": 5}, 5j,
        "", " ", " 5", "5 ", "5\n", "five", "1e5", "1E5", "+5", "-5", "1_000", "1,000", "1.2.3", ".", "NaN", "sNaN",
        "Infinity", "-Infinity", "inf", "0x10", "\u0665", "\uff15", "\u00b2", "5\x00", "$5", "1/2", "9" * 41,
    ],
)  # fmt: skip
def test_what_is_no_number_is_refused(value: object) -> None:
    with pytest.raises(InvalidAmount, match="must be a decimal number"):
        parse_amount(value)


@pytest.mark.parametrize("value", [Decimal("NaN"), Decimal("sNaN"), Decimal("Infinity"), Decimal("-Infinity")])
def test_what_is_not_finite_is_refused(value: Decimal) -> None:
    with pytest.raises(InvalidAmount, match="must be a finite number"):
        parse_amount(value)


@pytest.mark.parametrize(
    "value", [0, -1, "0", "0.000000000", "00", Decimal(0), Decimal("-0"), Decimal("0E-99"), Decimal("-0.01"), -(10**60)]
)
def test_nothing_and_less_are_refused(value: object) -> None:
    with pytest.raises(InvalidAmount, match="must be greater than zero"):
        parse_amount(value)


@pytest.mark.parametrize(
    "value",
    [
        "0.0000000001",
        "1.0000000001",
        Decimal("1E-10"),
        Decimal("1E-999999"),
        Decimal("1." + "0" * 37 + "1"),
        "0." + "0" * 30 + "1",
    ],
)
def test_more_than_nine_decimals_are_refused_and_never_rounded(value: object) -> None:
    with pytest.raises(InvalidAmount, match="has more than 9 decimals"):
        parse_amount(value)


@pytest.mark.parametrize(
    "value",
    [
        9_000_001,
        "9000000.000000001",
        "9" * 40,
        10**60,
        pytest.param(1 << 1_000_000, id="a million bits"),
        Decimal("1E+18"),
        Decimal("1E+999999"),
    ],
)
def test_what_no_balance_could_hold_is_refused(value: object) -> None:
    with pytest.raises(InvalidAmount, match="is too large"):
        parse_amount(value)


def test_a_refusal_names_the_field_and_is_the_callers_fault() -> None:
    with pytest.raises(InvalidAmount) as refused:
        parse_amount("x", "deductions[3].amount")
    assert (refused.value.status, refused.value.code) == (422, "invalid_amount")
    assert refused.value.details == {"field": "deductions[3].amount"}
    assert str(refused.value) == "deductions[3].amount must be a decimal number"


@given(st.integers(1, AMOUNT_MAX_NANO))
def test_what_is_written_is_read_again(nano: int) -> None:
    assert parse_amount(format_amount(nano)) == nano
    assert parse_amount(to_decimal(nano)) == nano


@given(st.integers(1, AMOUNT_MAX_NANO), st.integers(1, 6))
def test_the_decimal_context_of_the_caller_changes_nothing(nano: int, digits: int) -> None:
    with decimal.localcontext() as context:
        context.prec = digits
        assert parse_amount(to_decimal(nano)) == nano


@given(st.decimals() | st.text() | st.integers() | st.floats() | st.booleans() | st.none())
def test_anything_is_an_exact_amount_or_refused(value: object) -> None:
    try:
        nano = parse_amount(value)
    except InvalidAmount:
        return
    assert 0 < nano <= AMOUNT_MAX_NANO
    assert isinstance(value, str | int | Decimal)
    with decimal.localcontext() as context:
        context.prec = 60
        assert Decimal(value) * NANO == nano


@pytest.mark.parametrize(
    ("nano", "text"),
    [
        (0, "0.00"),
        (18_500_000_000, "18.50"),
        (-12_345, "-0.000012345"),
        (1, "0.000000001"),
        (-NANO, "-1.00"),
        (9_223_372_036_854_775_807, "9223372036.854775807"),
    ],
)
def test_amounts_are_written_with_as_many_decimals_as_they_have(nano: int, text: str) -> None:
    assert format_amount(nano) == text
    assert f"{to_decimal(nano):f}" == text


@given(st.integers(-(10**12), 10**12), st.sampled_from([0, 2, 3]))
def test_minor_units_go_there_and_back(minor: int, decimals: int) -> None:
    assert to_minor(from_minor(minor, decimals), decimals) == minor


def test_cents_are_ten_million_nanocredits() -> None:
    assert from_minor(2500) == 25 * NANO
    assert from_minor(25, decimals=0) == 25 * NANO


def test_part_of_a_cent_cannot_be_charged() -> None:
    with pytest.raises(InvalidAmount, match="has more than 2 decimals"):
        to_minor(10_000_001)
