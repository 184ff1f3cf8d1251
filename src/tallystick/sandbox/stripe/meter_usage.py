"""What the events of a meter add up to for a customer, between two moments."""

import hashlib
from typing import Final

from tallystick.sandbox.stripe.world import Object, World

WINDOWS_S: Final = {"hour": 3600, "day": 24 * 3600}


def note(world: World, meter: Object, customer: str, *, identifier: str, value: int, timestamp: int) -> None:
    """An event was taken. Like at Stripe it shows in summaries a little later, when a control says so."""
    now = world.now()
    row = {
        "identifier": identifier,
        "value": value,
        "timestamp": timestamp,
        "shown_from": now + delay_s(world),
        "hidden_from": None,
    }
    of_meter = world.keep("meter_usage").setdefault(meter["id"], {})
    of_meter.setdefault(customer, []).append(row)


def cancel(world: World, meter: Object, customer: str, identifier: str) -> None:
    """Takes the latest event of this identifier out of the sums."""
    rows = world.keep("meter_usage")[meter["id"]][customer]
    row = next(row for row in reversed(rows) if row["identifier"] == identifier)
    row["hidden_from"] = world.now() + delay_s(world)


def delay_s(world: World) -> int:
    seconds: int = world.keep("meter_settings").get("delay_s", 0)
    return seconds


def value(world: World, meter: Object, customer: str, start: int, end: int) -> int:
    """Everything that was taken, shown already or not: what an invoice bills for [start, end)."""
    rows = [row for row in _rows(world, meter, customer, start, end) if row["hidden_from"] is None]
    return _total(meter, rows) or 0


def summary(world: World, meter: Object, customer: str, start: int, end: int) -> Object | None:
    """What is shown by now for [start, end); None when there was nothing."""
    now = world.now()
    shown = [
        row
        for row in _rows(world, meter, customer, start, end)
        if row["shown_from"] <= now and (row["hidden_from"] is None or row["hidden_from"] > now)
    ]
    total = _total(meter, shown)
    if total is None:
        return None
    named = hashlib.sha256(f"{meter['id']} {customer} {start} {end}".encode()).hexdigest()[:24]
    return {
        "id": f"mtrusg_test_{named}",
        "object": "billing.meter_event_summary",
        "aggregated_value": total,
        "end_time": end,
        "livemode": False,
        "meter": meter["id"],
        "start_time": start,
    }


def windows(world: World, meter: Object, customer: str, start: int, end: int, step: int) -> list[int]:
    """When the hours or days began in which there were events, latest first."""
    used = {row["timestamp"] // step * step for row in _rows(world, meter, customer, start, end)}
    return sorted(used, reverse=True)


def _rows(world: World, meter: Object, customer: str, start: int, end: int) -> list[Object]:
    taken: list[Object] = world.keep("meter_usage").get(meter["id"], {}).get(customer, [])
    return [row for row in taken if start <= row["timestamp"] < end]


def _total(meter: Object, rows: list[Object]) -> int | None:
    if meter["event_time_window"] is not None:
        # Such a meter is told sums, not single uses: the latest of each hour or day replaces those before it.
        window_s = WINDOWS_S[meter["event_time_window"]]
        rows = list({row["timestamp"] // window_s: row for row in rows}.values())
    if not rows:
        return None
    formula = meter["default_aggregation"]["formula"]
    if formula == "count":
        return len(rows)
    if formula == "last":
        # Of two at the same second the one that came later.
        return int(max(enumerate(rows), key=lambda pair: (pair[1]["timestamp"], pair[0]))[1]["value"])
    return sum(int(row["value"]) for row in rows)
