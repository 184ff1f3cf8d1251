"""Several things at once: each comes to its end, whatever became of the others."""

import asyncio

import pytest

from tallystick.base.together import together


async def test_their_results_stand_in_their_order():
    async def after(turns, result):
        for _ in range(turns):
            await asyncio.sleep(0)
        return result

    assert await together(after(3 - number, number) for number in range(3)) == [0, 1, 2]
    assert await together(()) == []


async def test_a_failure_is_raised_when_the_others_have_ended():
    ended = []

    async def fail():
        raise ValueError("first")

    async def end():
        await asyncio.sleep(0.01)
        ended.append(True)

    with pytest.raises(ValueError, match="first"):
        await together((fail(), end(), fail()))
    assert ended == [True]
