from datetime import UTC, datetime
from decimal import Decimal

import pytest

from tallystick.base.errors import InvalidInput
from tallystick.catalog.plan import Meter
from tallystick.metering.event import check_meter, read_event

WHOLE = {
    "id": "run-7",
    "user_id": "user_1",
    "meter": "pages",
    "quantity": 12,
    "at": "2026-02-27T12:30:00+01:00",
    "key": "key_1",
    "model": "fast",
    "session": "s-41",
    "properties": {"document": "a.pdf", "dpi": Decimal("1.5"), "colour": True, "note": None},
}


def meter(aggregation):
    return Meter(name="it", title="It", unit="unit", aggregation=aggregation)


def test_an_event_is_read_as_it_was_told():
    event = read_event(WHOLE)
    assert (event.payer, event.quantity, event.at) == ("user_1", 12, datetime(2026, 2, 27, 11, 30, tzinfo=UTC))
    assert read_event({"id": "a", "organization": "org_1", "meter": "m"}).payer == "org_1"


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"id": ""}, "id"),
        ({"id": "x" * 201}, "id"),
        ({"id": 7}, "id"),
        ({"id": "a\x00b"}, "id"),
        ({"id": "\ud800"}, "id"),
        ({"organization": "org_1"}, "user_id"),
        ({"user_id": 5}, "user_id"),
        ({"meter": None}, "meter"),
        ({"quantity": -1}, "quantity"),
        ({"quantity": 10**15 + 1}, "quantity"),
        ({"quantity": True}, "quantity"),
        ({"quantity": 1.0}, "quantity"),
        ({"quantity": Decimal("1.0")}, "quantity"),
        ({"quantity": "12"}, "quantity"),
        ({"quantity": [1]}, "quantity"),
        ({"at": "2026-02-27T12:30:00"}, "at"),
        ({"at": "2026-02-30T12:30:00Z"}, "at"),
        ({"at": "20260227T123000Z"}, "at"),
        ({"at": "1999-12-31T23:59:59Z"}, "at"),
        ({"at": "9999-12-31T23:59:59Z"}, "at"),
        ({"at": 1_772_000_000}, "at"),
        ({"key": ""}, "key"),
        ({"model": "a\nb"}, "model"),
        ({"session": []}, "session"),
        ({"properties": []}, "properties"),
        ({"properties": {"a": {}}}, "properties"),
        ({"properties": {"a": "x" * 501}}, "properties"),
        ({"properties": {"a": "\x00"}}, "properties"),
        ({"properties": {"": 1}}, "properties"),
        ({"properties": {f"p{n}": n for n in range(51)}}, "properties"),
        ({"quantitty": 12}, "quantitty"),
        ({"\ud800": 12}, "events"),
    ],
)
def test_what_could_be_meant_in_two_ways_is_refused_by_name(change, field):
    with pytest.raises(InvalidInput) as refused:
        read_event(WHOLE | change)
    assert refused.value.field == field


@pytest.mark.parametrize("given", [None, 7, "run-7", [], {}, {"id": "a", "meter": "m"}])
def test_what_is_no_event_is_refused(given):
    with pytest.raises(InvalidInput):
        read_event(given)


@pytest.mark.parametrize(
    ("aggregation", "fields", "refused"),
    [
        ("count", {}, None),
        ("count", {"quantity": 1}, None),
        ("count", {"quantity": 2}, "quantity"),
        ("count", {"quantity": 0}, "quantity"),
        ("count", {"value": "x"}, "value"),
        ("sum", {"quantity": 0}, None),
        ("sum", {}, "quantity"),
        ("sum", {"quantity": 1, "value": "x"}, "value"),
        ("max", {}, "quantity"),
        ("max", {"quantity": 5}, None),
        ("unique", {"value": "x"}, None),
        ("unique", {"session": "x"}, None),
        ("unique", {}, "value"),
        ("unique", {"value": "x", "quantity": 3}, "quantity"),
    ],
)
def test_a_meter_takes_what_it_counts_and_nothing_else(aggregation, fields, refused):
    event = read_event({"id": "a", "organization": "org_1", "meter": "it", **fields})
    if refused is None:
        assert check_meter(event, meter(aggregation)) == meter(aggregation)
        return
    with pytest.raises(InvalidInput) as error:
        check_meter(event, meter(aggregation))
    assert error.value.field == refused


def test_a_meter_that_nobody_wrote_down_is_refused():
    with pytest.raises(InvalidInput):
        check_meter(read_event(WHOLE), None)


@pytest.mark.parametrize(
    "change",
    [
        {"meter": "other"},
        {"quantity": 13},
        {"at": None},
        {"at": "2026-02-27T11:30:01Z"},
        {"key": None},
        {"model": "slow"},
        {"session": "s-42"},
        {"value": "x"},
        {"properties": None},
        {"properties": {"dpi": 2}},
    ],
)
def test_other_content_has_another_digest(change):
    assert read_event(WHOLE | change).digest() != read_event(WHOLE).digest()


def test_the_same_content_said_differently_has_the_same_digest():
    turned = {name: WHOLE[name] for name in reversed(WHOLE)} | {"at": "2026-02-27T11:30:00Z"}
    turned["properties"] = dict(reversed(WHOLE["properties"].items()))
    assert read_event(turned).digest() == read_event(WHOLE).digest()
