from contextlib import suppress
from datetime import UTC, datetime
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tallystick.base.errors import InvalidInput
from tallystick.base.strict_json import dumps, loads


def test_numbers_stay_exact() -> None:
    amounts = loads(b'{"a": 0.1, "b": 25, "c": 1e2, "d": 18.50, "e": -7, "f": 0.123456789012345678901234567890}')
    assert amounts == {
        "a": Decimal("0.1"),
        "b": 25,
        "c": Decimal("1E+2"),
        "d": Decimal("18.50"),
        "e": -7,
        "f": Decimal("0.123456789012345678901234567890"),
    }
    assert not any(isinstance(value, float) for value in amounts.values())


@pytest.mark.parametrize(
    "body",
    [
        b"", b" ", b"null", b"[]", b'"x"', b"5", b"{", b"{}{}", b"{} x", b"{'a': 1}", b'{"a": 1,}', b'{"a": 01}',
        b'{"a": .5}', b'{"a": +1}', b'{"a": 0x10}', b'{"a": undefined}', b'{"a": "\x01"}', b"\xff\xfe{\x00}\x00",
        b"\xef\xbb\xbf{}", b'{"a": "\xff"}', b"[" * 100_000, b'{"a":' * 100_000,
    ],
)  # fmt: skip
def test_what_is_no_json_object_is_refused(body: bytes) -> None:
    with pytest.raises(InvalidInput, match="body must be a JSON object"):
        loads(body)


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (b'{"amount": 1, "amount": 2}', "amount is given twice"),
        (b'{"amount": 1, "\\u0061mount": 2}', "amount is given twice"),
        (b'{"x": {"amount": 1, "amount": 1}}', "amount is given twice"),
        (b'{"amount": NaN}', "amount is NaN, which is not a number"),
        (b'{"amount": Infinity}', "amount is Infinity, which is not a number"),
        (b'{"amount": [1, [-Infinity]]}', "amount is -Infinity, which is not a number"),
        (b'{"amount": 1e999999999}', "amount is a number out of range"),
        (b'{"amount": 1e-999999999}', "amount is a number out of range"),
        (b'{"amount": 1e99999999999999999999}', "amount is a number out of range"),
        (b'{"amount": ' + b"9" * 5000 + b"}", "amount is a number out of range"),
        (b'{"amount": 0.' + b"1" * 5000 + b"}", "amount is a number out of range"),
        (b'{"id": "a\\u0000b"}', "id holds characters that are no text"),
        (b'{"id": ["\\ud800"]}', "id holds characters that are no text"),
        (b'{"\\udfff": 1}', "body has a key with characters that are no text"),
        (b'{"' + b"k" * 10_000 + b'": NaN}', "body is NaN, which is not a number"),
    ],
)
def test_what_could_be_read_in_two_ways_is_refused(body: bytes, message: str) -> None:
    with pytest.raises(InvalidInput) as refused:
        loads(body)
    assert str(refused.value) == message


def test_text_of_any_language_is_text() -> None:
    assert loads('{"näme": "\\ud83d\\ude00 日本 \\\\u0000"}'.encode()) == {"näme": "\U0001f600 日本 \\u0000"}


@given(st.binary() | st.text().map(str.encode))
def test_any_bytes_are_an_object_or_refused(body: bytes) -> None:
    with suppress(InvalidInput):
        assert isinstance(loads(body), dict)


_TEXT = st.text(st.characters(exclude_characters="\x00", exclude_categories=["Cs"]))
_EXACT = st.decimals(min_value=-(10**20), max_value=10**20, allow_nan=False, places=9)


@given(st.dictionaries(_TEXT, st.none() | st.booleans() | st.integers(-(2**63), 2**63 - 1) | _TEXT | st.lists(_EXACT)))
def test_what_is_written_is_read_again(value: dict[str, object]) -> None:
    assert loads(dumps(value)) == value


def test_amounts_are_written_as_numbers_and_times_in_utc() -> None:
    written = dumps({"balance": Decimal("18.50"), "at": datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)})
    assert written == b'{"balance":18.50,"at":"2026-01-02T03:04:05Z"}'
