"""How each act of a plan is done: as its customer, an operator, or their bank would. What cannot be done yet is done
later, in the same order."""

from collections.abc import Awaitable, Callable
from typing import Final

import httpx
import stripe

from tallystick.base.errors import Conflict, InsufficientCreditsError
from tests.flows.month import buying, by_hand, money_back, subscribing, topping_up
from tests.flows.month.act import Act
from tests.flows.month.customer import Customer, Later
from tests.flows.month.stage import Refused, Stage

_ACTS: Final[dict[str, Callable[[Stage, Customer, Act], Awaitable[None]]]] = {
    **buying.ACTS,
    **by_hand.ACTS,
    **money_back.ACTS,
    **topping_up.ACTS,
    **subscribing.ACTS,
}


async def act_on(stage: Stage, customer: Customer, act: Act) -> None:
    """Raises Later."""
    try:
        await stage.up.wait()
        await _ACTS[act.what](stage, customer, act)
    except (httpx.TransportError, stripe.StripeError, Refused, InsufficientCreditsError, Conflict) as error:
        raise Later(f"{act.what}: {error!r}") from error
