"""The jobs over all organizations, and the commands that do the same by hand."""

from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any

import pytest
from prometheus_client import REGISTRY
from structlog.testing import capture_logs

from tallystick.base.errors import TallystickError
from tallystick.payments.meters.upkeep import compare_all, compare_nightly, report_usage
from tallystick.payments.stripe.meter import MeterEvent, send_event
from tests.cli.conftest import tallystick as tallystick  # noqa: PLC0414 - a fixture
from tests.payments.meters.metered import HOUR, SESSIONS, Metered

Control = Callable[..., Any]


async def tell_too_much(acme: Metered, hour: datetime, units: int) -> None:
    """Somebody else tells Stripe."""
    event = MeterEvent(
        name="tallystick_agent_sessions", identifier=f"x{acme.id}", customer=acme.customer, units=units, at=hour
    )
    await send_event(acme.stripe, event)


async def test_all_that_is_due_is_collected_and_sent(
    new_metered: Callable[..., Any], acme: Metered, hour: datetime
) -> None:
    other: Metered = await new_metered(hour - timedelta(days=1))
    await acme.sessions(hour, 1)
    await other.sessions(hour - HOUR, 2)
    assert await report_usage(acme.pool, acme.stripe) == 2
    assert (await acme.at_stripe(), await other.at_stripe()) == (1, 2)


async def test_one_that_cannot_be_collected_keeps_nobody_waiting(
    new_metered: Callable[..., Any], acme: Metered, hour: datetime
) -> None:
    other: Metered = await new_metered(hour - timedelta(days=1))
    for one in (acme, other):
        await one.sessions(hour, 1)
    await acme.pool.execute("delete from stripe_customer where organization = $1", acme.id)
    await acme.move(acme.since, stripe_customer=None)
    with pytest.raises(TallystickError, match="no customer at Stripe"):
        await report_usage(acme.pool, acme.stripe)
    assert await other.at_stripe() == 1


async def test_every_night_what_differs_is_mended_and_what_is_left_is_told(acme: Metered, hour: datetime) -> None:
    await acme.sessions(hour, 3)
    await tell_too_much(acme, hour + timedelta(minutes=30), 5)
    with capture_logs() as logs:
        await compare_nightly(acme.pool, acme.stripe)
    assert await acme.at_stripe() == 8
    (told,) = [entry for entry in logs if entry["event"] == "meter_differs"]
    assert (told["organization"], told["units"], told["cause"], told["log_level"]) == (acme.id, -5, "not_ours", "error")
    assert REGISTRY.get_sample_value("tallystick_meter_difference_units", {"cause": "not_ours"}) == 5


async def test_stripe_that_is_away_for_one_organization_is_told_at_the_end(
    acme: Metered, control: Control, hour: datetime
) -> None:
    await acme.sessions(hour, 3)
    await acme.report()
    await control("faults", kind="unavailable_503", times=2, method="GET", path="/v1/billing/meters")
    with pytest.raises(TallystickError):
        await compare_all(acme.pool, acme.stripe)
    found, _ = await compare_all(acme.pool, acme.stripe)
    assert found.differences == []


async def test_the_commands(acme: Metered, hour: datetime, stripe_address: str, tallystick: Any) -> None:
    settings = {"STRIPE_API_KEY": "sk_test_of_the_tests", "STRIPE_API_BASE": stripe_address}
    await acme.sessions(hour, 3)
    on_its_way = tallystick("meters", "compare", "--organization", acme.id, "--json", **settings)
    assert [one["cause"] for one in on_its_way["differences"]] == ["not_collected"]
    mended = tallystick("meters", "mend", "--by", "ada", "--json", **settings)
    assert mended["mended"] == {"collected": 1, "sent": 1, "canceled": 0}
    assert mended["differences"] == []
    assert datetime.fromisoformat(mended["until"]) >= hour + HOUR
    text = tallystick("meters", "compare", **settings)
    assert f"Compared: what was used before {hour:%Y-}" in text
    assert SESSIONS in text
    assert "Stripe has what was used." in text
    await tell_too_much(acme, hour + timedelta(minutes=30), 5)
    tallystick("meters", "compare", "--since", f"{hour:%Y-%m-%d}", code=1, **settings)
    assert "set STRIPE_API_KEY" in tallystick("meters", "compare", code=1)
