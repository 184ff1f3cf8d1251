"""A month of customers with Stripe failing at every call once: at its end all is as Stripe says, to the cent.

Webhooks are lost, doubled, late and in any order meanwhile, and our server is killed in the middle of its work.
"""

import sys

import pytest
import stripe

from tests.database import copied
from tests.flows.month.check import check, ending
from tests.flows.month.month import Month
from tests.flows.month.plan import EVERY_KIND
from tests.flows.month.server import hurry
from tests.flows.month.stage import open_stage


@pytest.fixture(autouse=True)
def hardly_a_pause(monkeypatch):
    """As in the server, see there."""
    for name in ("INITIAL_DELAY", "MAX_DELAY"):
        monkeypatch.setattr(stripe.HTTPClient, name, getattr(stripe.HTTPClient, name))
    hurry()


@pytest.fixture
def tell(capsys, request):
    """What takes minutes says how far it is."""

    def say(line):
        if request.node.get_closest_marker("slow"):
            with capsys.disabled():
                sys.stdout.write(f"{line}\n")
                sys.stdout.flush()

    return say


@pytest.mark.timeout(300)
@pytest.mark.parametrize(("faults", "customers"), [("distinct", range(7)), ("single", range(7, EVERY_KIND))])
async def test_a_month_of_a_few(dsn, tell, faults, customers):
    """Of every kind one."""
    await _live(dsn, tell, seed=1, customers=customers, faults=faults, step_days=6, kills=1)


@pytest.mark.slow
@pytest.mark.timeout(3600)
@pytest.mark.parametrize(("seed", "faults"), [(1, "single"), (2, "distinct"), (3, "single")])
async def test_a_month_of_two_hundred(dsn, tell, seed, faults):
    await _live(dsn, tell, seed=seed, customers=range(200), faults=faults, step_days=2, kills=6)


@pytest.mark.slow
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("faults", ["distinct", "single"])
async def test_it_ends_as_it_does_without_a_fault(dsn, tell, faults):
    async with copied(dsn) as (other, _pool):
        calm = await _live(other, tell, seed=4, customers=range(2 * EVERY_KIND), faults="none", step_days=2, kills=0)
    rough = await _live(dsn, tell, seed=4, customers=range(2 * EVERY_KIND), faults=faults, step_days=2, kills=4)
    # Who had to wait did later what they meant to do, and Stripe's months went on meanwhile.
    assert len(rough) > len(calm) // 2
    assert rough == {number: calm[number] for number in rough}


async def _live(dsn, tell, *, seed, customers, faults, step_days, kills):
    """How the customers end whose end does not depend on when what happened."""
    async with open_stage(dsn, seed=seed) as stage:
        month = Month(
            stage, seed=seed, numbers=customers, faults=faults, step_days=step_days, kills=kills, progress=tell
        )
        await month.live()
        await check(month)
        tell(f"seed {seed}, {len(customers)} customers, {faults}: {dict(month.figures)}")
        return await ending(month)
