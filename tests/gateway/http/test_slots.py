import asyncio

from tallystick.gateway.http.slots import Slots


async def test_they_are_handed_on_in_order() -> None:
    slots, order = Slots(1), list[int]()

    async def work(number: int) -> None:
        await slots.take()
        order.append(number)
        await asyncio.sleep(0)
        slots.give_back()

    await asyncio.gather(*(work(number) for number in range(10)))
    assert order == list(range(10))
    assert slots.taken == 0


async def test_one_who_is_cancelled_in_line_gets_none() -> None:
    slots = Slots(1)
    await slots.take()
    waiting = [asyncio.create_task(slots.take()) for _ in range(3)]
    await asyncio.sleep(0)
    waiting[0].cancel()
    await asyncio.sleep(0)
    slots.give_back()
    await asyncio.sleep(0)
    assert [each.done() for each in waiting] == [True, True, False]
    slots.give_back()
    await waiting[2]
    assert slots.taken == 1


async def test_one_who_is_cancelled_as_it_comes_hands_it_on() -> None:
    slots = Slots(1)
    await slots.take()
    waiting = [asyncio.create_task(slots.take()) for _ in range(2)]
    await asyncio.sleep(0)
    slots.give_back()
    waiting[0].cancel()
    await asyncio.wait(waiting)
    assert waiting[0].cancelled()
    assert slots.taken == 1
    slots.give_back()
    assert slots.taken == 0
