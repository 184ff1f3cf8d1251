"""Controls of subscriptions: what follows the last retry, and the acts of the customer portal without its page."""

from typing import Literal

import msgspec
from starlette.requests import Request
from starlette.routing import Route

from tallystick.sandbox.stripe.control import control, read
from tallystick.sandbox.stripe.world import World


class SetAccount(msgspec.Struct, forbid_unknown_fields=True):
    """What becomes of a subscription when every retry has failed."""

    after_retries: Literal["canceled", "unpaid"] = "canceled"


class SubscriptionControls:
    def __init__(self, world: World) -> None:
        self._world = world

    def routes(self) -> list[Route]:
        return [
            control("account", self._set_account),
        ]

    def _set_account(self, _: Request, body: bytes) -> object:
        self._world.keep("account").update(msgspec.structs.asdict(read(body, SetAccount)))
        return self._world.keep("account")
