"""Controls of the money that has come in: what becomes of refunds."""

import msgspec
from starlette.requests import Request
from starlette.routing import Route

from tallystick.sandbox.stripe import refund_outcome
from tallystick.sandbox.stripe.control import control, read
from tallystick.sandbox.stripe.instrument import RefundEnd, RefundStatus
from tallystick.sandbox.stripe.refusal import invalid_parameter
from tallystick.sandbox.stripe.world import Object, World


class NextRefunds(msgspec.Struct, forbid_unknown_fields=True):
    """How the next refunds begin, and what follows by itself; without `after_s` only a control decides."""

    status: RefundStatus = "succeeded"
    then: RefundEnd | None = None
    after_s: float | None = None
    reason: str = "unknown"
    times: int = 1


class FailRefund(msgspec.Struct, forbid_unknown_fields=True):
    reason: str = "unknown"


class MoneyControls:
    def __init__(self, world: World) -> None:
        self._world = world

    def routes(self) -> list[Route]:
        return [
            control("refunds/next", self._next_refunds),
            control("refunds/{id}/succeed", self._succeed_refund),
            control("refunds/{id}/fail", self._fail_refund),
        ]

    def _next_refunds(self, _: Request, body: bytes) -> object:
        asked = read(body, NextRefunds)
        _check_reason(asked.reason)
        return {"planned": refund_outcome.tell_next(self._world, msgspec.structs.asdict(asked))}

    def _succeed_refund(self, request: Request, _: bytes) -> object:
        refund = self._refund(request)
        refund_outcome.succeed(self._world, refund)
        return {"refund": refund}

    def _fail_refund(self, request: Request, body: bytes) -> object:
        asked, refund = read(body, FailRefund), self._refund(request)
        _check_reason(asked.reason)
        refund_outcome.fail(self._world, refund, reason=asked.reason)
        return {"refund": refund}

    def _refund(self, request: Request) -> Object:
        return self._world.get("refund", request.path_params["id"])


def _check_reason(reason: str) -> None:
    if reason not in refund_outcome.FAILURES:
        raise invalid_parameter("reason", f"Invalid reason: must be one of {', '.join(refund_outcome.FAILURES)}")
