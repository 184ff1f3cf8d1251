"""Controls of subscriptions: what follows the last retry, and the acts of the customer portal without its page."""

from typing import Literal

import msgspec
from starlette.requests import Request
from starlette.routing import Route

from tallystick.sandbox.stripe import collection, invoice, payment_method, portal
from tallystick.sandbox.stripe.control import control, read
from tallystick.sandbox.stripe.instrument import Instrument, by_number
from tallystick.sandbox.stripe.refusal import Refusal
from tallystick.sandbox.stripe.world import Object, World


class SetAccount(msgspec.Struct, forbid_unknown_fields=True):
    """What becomes of a subscription when every retry has failed."""

    after_retries: Literal["canceled", "unpaid"] = "canceled"


class ChangePlan(msgspec.Struct, forbid_unknown_fields=True):
    price: str


class Card(msgspec.Struct, forbid_unknown_fields=True):
    number: str = "4242424242424242"


class SubscriptionControls:
    def __init__(self, world: World) -> None:
        self._world = world

    def routes(self) -> list[Route]:
        return [
            control("account", self._set_account),
            control("subscriptions/{id}/change_plan", self._change_plan),
            control("subscriptions/{id}/cancel", self._cancel),
            control("subscriptions/{id}/keep", self._keep),
            control("customers/{id}/card", self._replace_card),
            control("invoices/{id}/pay", self._pay_invoice),
        ]

    def _set_account(self, _: Request, body: bytes) -> object:
        self._world.keep("account").update(msgspec.structs.asdict(read(body, SetAccount)))
        return self._world.keep("account")

    def _change_plan(self, request: Request, body: bytes) -> object:
        found = self._subscription(request)
        portal.change_plan(self._world, found, read(body, ChangePlan).price)
        return {"subscription": found}

    def _cancel(self, request: Request, _: bytes) -> object:
        found = self._subscription(request)
        portal.cancel(self._world, found)
        return {"subscription": found}

    def _keep(self, request: Request, _: bytes) -> object:
        found = self._subscription(request)
        portal.keep(self._world, found)
        return {"subscription": found}

    def _replace_card(self, request: Request, body: bytes) -> object:
        customer = self._world.get("customer", request.path_params["id"])
        return {"payment_method": portal.replace_card(self._world, customer, _instrument(body))}

    def _pay_invoice(self, request: Request, body: bytes) -> object:
        bill = self._world.get("invoice", request.path_params["id"])
        method = payment_method.make(self._world, _instrument(body))
        collection.collect(self._world, bill, method, present=True)
        return {"invoice": bill, "payment_intent": invoice.intent_of(self._world, bill)}

    def _subscription(self, request: Request) -> Object:
        return self._world.get("subscription", request.path_params["id"])


def _instrument(body: bytes) -> Instrument:
    number = read(body, Card).number
    used = by_number(number)
    if used is None:
        raise Refusal(400, f"{number} is no test number.", param="number")
    return used
