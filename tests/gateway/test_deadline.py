"""A limit on time is reached, moved, left behind, and never mistaken for a cancellation by somebody else."""

import asyncio

import pytest

from tallystick.gateway import deadline
from tallystick.gateway.deadline import Deadline


@pytest.fixture(params=["a timer of its own", "a shared timer"], autouse=True)
def timer(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    if request.param == "a shared timer":
        monkeypatch.setattr(deadline, "_SHARED_S_MIN", 0.0001)


async def test_it_is_reached_when_its_time_is_up_and_not_before() -> None:
    loop = asyncio.get_running_loop()
    begun = loop.time()
    with pytest.raises(TimeoutError), Deadline().within(0.2) as limit:
        await asyncio.sleep(10)
    assert limit.expired
    assert loop.time() - begun >= 0.199
    await asyncio.sleep(0.05)  # nothing comes after it


async def test_it_is_not_reached_by_a_block_that_ended() -> None:
    for _ in range(3):
        with Deadline().within(0.05) as limit:
            await asyncio.sleep(0)
    await asyncio.sleep(0.1)
    assert not limit.expired


async def test_it_can_be_moved_both_ways() -> None:
    with Deadline().within(0.05) as limit:
        limit.within(0.5)
        await asyncio.sleep(0.1)
        with pytest.raises(TimeoutError), limit.within(0):
            await asyncio.sleep(10)


async def test_many_are_reached_together_but_only_those_that_are_left() -> None:
    async def limited(seconds: float) -> str:
        try:
            with Deadline().within(0.1):
                await asyncio.sleep(seconds)
        except TimeoutError:
            return "late"
        return "in time"

    assert await asyncio.gather(*(limited(seconds) for seconds in (10, 0, 10, 0.01))) == [
        "late", "in time", "late", "in time",
    ]  # fmt: skip


async def test_a_cancellation_by_somebody_else_stays_one() -> None:
    async def limited() -> None:
        with Deadline().within(10):
            await asyncio.sleep(10)

    task = asyncio.create_task(limited())
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
