"""`/_sandbox/*`: what Stripe has no API for. Pay, decline, settle, break and repeat things, and see what was sent."""

import json
from collections import Counter
from collections.abc import Callable
from dataclasses import asdict
from typing import Annotated, Final, Literal, TypeAlias

import msgspec
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from tallystick.sandbox.stripe import checkout_payment, checkout_session, due, instrument, payment
from tallystick.sandbox.stripe.control import control, read, refusal
from tallystick.sandbox.stripe.courier import Courier, Delivery, Disguise, Order, Rules
from tallystick.sandbox.stripe.fault import Everything, Fault, Faults, Kind, Scope
from tallystick.sandbox.stripe.refusal import Refusal
from tallystick.sandbox.stripe.world import API_VERSION, Object, World

Rate: TypeAlias = Annotated[float, msgspec.Meta(ge=0, le=1)]

_OFTEN: Final[list[Kind]] = ["unavailable_503", "rate_limited_429", "reset_before", "reset_after", "slow"]
# A 500 that its key remembers would fail the same call again and again.
_KINDS: Final[dict[Scope, list[Kind]]] = {"endpoint": ["error_500", *_OFTEN], "call": ["bad_gateway_502", *_OFTEN]}


class Pay(msgspec.Struct, forbid_unknown_fields=True):
    """Without a number nothing is paid with: that begins a trial which asks for no card."""

    number: str | None = "4242424242424242"
    email: str | None = None


class Decline(msgspec.Struct, forbid_unknown_fields=True):
    number: str = "4000000000000002"
    email: str | None = None


class Settle(msgspec.Struct, forbid_unknown_fields=True):
    succeeded: bool = True


class Authenticate(msgspec.Struct, forbid_unknown_fields=True):
    passed: bool = True


class Clock(msgspec.Struct, forbid_unknown_fields=True):
    advance_s: int


class PlanFault(msgspec.Struct, forbid_unknown_fields=True):
    kind: Kind
    times: int = 1
    method: Literal["", "GET", "POST", "DELETE"] = ""
    path: str = "/v1/"
    seconds: float = 30.0


class FailEverything(msgspec.Struct, forbid_unknown_fields=True):
    """Each endpoint, or each call, fails once in the next of these kinds before it works; none stands for all."""

    scope: Scope = "endpoint"
    kinds: list[Kind] = []
    method: Literal["", "GET", "POST", "DELETE"] = ""
    path: str = "/v1/"
    seconds: float = 1.0


class SetRules(msgspec.Struct, forbid_unknown_fields=True):
    copies: int = 1
    delay_s: float = 0.0
    drop_next: int = 0
    hold: bool = False
    loss_rate: Rate = 0.0
    duplicate_rate: Rate = 0.0
    delay_max_s: Annotated[float, msgspec.Meta(ge=0)] = 0.0
    seed: int = 0


class Release(msgspec.Struct, forbid_unknown_fields=True):
    order: Order = "created"
    copies: int = 1


class Wait(msgspec.Struct, forbid_unknown_fields=True):
    """`show` without the deliveries is quick after many thousands of them."""

    timeout_s: float = 10.0
    show: bool = True


class Resend(msgspec.Struct, forbid_unknown_fields=True):
    copies: int = 1
    secret: str | None = None
    age_s: int = 0
    tampered: bool = False


class Forge(msgspec.Struct, forbid_unknown_fields=True):
    """An event the API never had. Without a `secret` it is signed with the true one: then only its content lies."""

    type: str
    object: Object
    id: str | None = None
    livemode: bool = False
    copies: int = 1
    secret: str | None = None
    age_s: int = 0
    tampered: bool = False


class Controls:
    def __init__(self, world: World, courier: Courier, faults: Faults) -> None:
        self._world = world
        self._courier = courier
        self._faults = faults

    def routes(self) -> list[Route]:
        post: dict[str, Callable[[Request, bytes], object]] = {
            "checkout/{id}/pay": self._pay,
            "checkout/{id}/decline": self._decline,
            "checkout/{id}/authenticate": self._authenticate,
            "checkout/{id}/settle": self._settle,
            "checkout/{id}/expire": self._expire,
            "clock": self._clock,
            "faults": self._plan_fault,
            "faults/everything": self._fail_everything,
            "webhooks/rules": self._set_rules,
            "webhooks/release": self._release,
            "webhooks/forge": self._forge,
            "events/{id}/resend": self._resend,
        }
        return [
            *(control(path, act) for path, act in post.items()),
            Route("/_sandbox/webhooks/wait", self._wait, methods=["POST"]),
            Route("/_sandbox/webhooks/deliveries", self._deliveries),
            Route("/_sandbox/webhooks/summary", self._summary),
            Route("/_sandbox/faults", self._show_faults),
            Route("/_sandbox/faults", self._clear_faults, methods=["DELETE"]),
        ]

    def _pay(self, request: Request, body: bytes) -> object:
        return self._try_to_pay(request, read(body, Pay))

    def _decline(self, request: Request, body: bytes) -> object:
        return self._try_to_pay(request, read(body, Decline))

    def _try_to_pay(self, request: Request, asked: Pay | Decline) -> object:
        used = instrument.by_number(asked.number or "")
        if used is None and asked.number is not None:
            raise Refusal(400, f"{asked.number} is no test number.", param="number")
        session = self._session(request)
        intent = checkout_payment.pay(self._world, session, used, email=asked.email)
        return {"session": session, "payment_intent": intent}

    def _authenticate(self, request: Request, body: bytes) -> object:
        session, intent = self._attempted(request)
        payment.authenticate(self._world, intent, passed=read(body, Authenticate).passed)
        return {"session": session, "payment_intent": intent}

    def _settle(self, request: Request, body: bytes) -> object:
        session, intent = self._attempted(request)
        payment.settle_debit(self._world, intent, succeeded=read(body, Settle).succeeded)
        return {"session": session, "payment_intent": intent}

    def _expire(self, request: Request, _: bytes) -> object:
        session = self._session(request)
        checkout_session.close(self._world, session)
        return {"session": session}

    def _clock(self, _: Request, body: bytes) -> object:
        due.advance(self._world, read(body, Clock).advance_s)
        return {"now": self._world.now()}

    def _plan_fault(self, _: Request, body: bytes) -> object:
        self._faults.planned.append(Fault(**msgspec.structs.asdict(read(body, PlanFault))))
        return self._faults_shown()

    def _fail_everything(self, _: Request, body: bytes) -> object:
        asked = read(body, FailEverything)
        asked.kinds = asked.kinds or _KINDS[asked.scope]
        self._faults.everything = Everything(**msgspec.structs.asdict(asked))
        return self._faults_shown()

    async def _show_faults(self, _: Request) -> Response:
        return JSONResponse(self._faults_shown())

    async def _clear_faults(self, _: Request) -> Response:
        self._faults.planned.clear()
        self._faults.everything = None
        return JSONResponse(self._faults_shown())

    def _faults_shown(self) -> Object:
        return asdict(self._faults)

    def _set_rules(self, _: Request, body: bytes) -> object:
        self._courier.follow(Rules(**msgspec.structs.asdict(read(body, SetRules))))
        return asdict(self._courier.rules)

    def _release(self, _: Request, body: bytes) -> object:
        asked = read(body, Release)
        return {"released": _shown(self._courier.release(asked.order, asked.copies))}

    def _resend(self, request: Request, body: bytes) -> object:
        asked = read(body, Resend)
        event = self._world.get("event", request.path_params["id"])
        sent = self._courier.resend(event, asked.copies, Disguise(asked.secret, asked.age_s, asked.tampered))
        return {"deliveries": _shown(sent)}

    def _forge(self, _: Request, body: bytes) -> object:
        asked = read(body, Forge)
        event = {
            "id": asked.id or self._world.identifiers.new("evt_"),
            "object": "event",
            "account": None,
            "api_version": API_VERSION,
            "context": None,
            "created": self._world.now(),
            "data": {"object": asked.object},
            "livemode": asked.livemode,
            "pending_webhooks": 1,
            "request": {"id": None, "idempotency_key": None},
            "type": asked.type,
        }
        sent = self._courier.resend(event, asked.copies, Disguise(asked.secret, asked.age_s, asked.tampered))
        return {"event": event, "deliveries": _shown(sent)}

    async def _wait(self, request: Request) -> Response:
        try:
            asked = read(await request.body(), Wait)
        except Refusal as refused:
            return refusal(refused)
        done = await self._courier.wait(asked.timeout_s)
        shown = _shown(list(self._courier.deliveries.values())) if asked.show else []
        return JSONResponse({"done": done, "deliveries": shown})

    async def _deliveries(self, request: Request) -> Response:
        event, kind = request.query_params.get("event"), request.query_params.get("type")
        state = request.query_params.get("state")
        wanted = [
            delivery
            for delivery in self._courier.deliveries.values()
            if event in {None, delivery.event} and kind in {None, delivery.type} and state in {None, delivery.state}
        ]
        return JSONResponse({"deliveries": _shown(wanted)})

    async def _summary(self, _: Request) -> Response:
        """How many there were of each state, without the many thousands of them; and how many events they tell of."""
        sent = self._courier.deliveries.values()
        states = Counter(delivery.state for delivery in sent)
        return JSONResponse({"events": len({delivery.event for delivery in sent}), "deliveries": dict(states)})

    def _session(self, request: Request) -> Object:
        return self._world.get("checkout.session", request.path_params["id"])

    def _attempted(self, request: Request) -> tuple[Object, Object]:
        session = self._session(request)
        intent = checkout_payment.intent_of(self._world, session)
        if intent is None:
            raise Refusal(400, "Nobody has tried to pay this Checkout Session yet.")
        return session, intent


def _shown(deliveries: list[Delivery]) -> list[Object]:
    return [{**asdict(delivery), "body": json.loads(delivery.body)} for delivery in deliveries]
