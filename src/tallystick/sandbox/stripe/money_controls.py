"""Controls of money: refunds, disputes, payouts, fees of Stripe's own, meters, cards that begin to decline."""

from typing import Annotated

import msgspec
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from tallystick.sandbox.stripe import (
    balance_transaction,
    dispute,
    dispute_course,
    instrument,
    payment,
    payment_method,
    payout,
    refund_outcome,
)
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


class OpenDispute(msgspec.Struct, forbid_unknown_fields=True):
    amount: int | None = None
    reason: str = "fraudulent"
    inquiry: bool = False


class WinDispute(msgspec.Struct, forbid_unknown_fields=True):
    return_fee: bool = False


class TakeFee(msgspec.Struct, forbid_unknown_fields=True):
    amount: Annotated[int, msgspec.Meta(ge=1)]
    currency: Annotated[str, msgspec.Meta(pattern="^[a-z]{3}$")] = "usd"
    description: str = "Billing - Usage Fee"


class DeclineSaved(msgspec.Struct, forbid_unknown_fields=True):
    reason: str | None = "insufficient_funds"


class Metering(msgspec.Struct, forbid_unknown_fields=True):
    delay_s: Annotated[int, msgspec.Meta(ge=0)] = 0


class Answer(msgspec.Struct, forbid_unknown_fields=True):
    passed: bool = True


class SettleDebit(msgspec.Struct, forbid_unknown_fields=True):
    succeeded: bool = True


class PayOut(msgspec.Struct, forbid_unknown_fields=True):
    currency: str | None = None
    arrives_after_s: float = 0.0


class MoneyControls:
    def __init__(self, world: World) -> None:
        self._world = world

    def routes(self) -> list[Route]:
        return [
            control("refunds/next", self._next_refunds),
            Route("/_sandbox/refunds/next", self._forget_refunds, methods=["DELETE"]),
            control("refunds/{id}/succeed", self._succeed_refund),
            control("refunds/{id}/fail", self._fail_refund),
            control("charges/{id}/dispute", self._open_dispute),
            control("disputes/{id}/escalate", self._escalate_dispute),
            control("disputes/{id}/win", self._win_dispute),
            control("disputes/{id}/lose", self._lose_dispute),
            control("disputes/{id}/end_inquiry", self._end_inquiry),
            control("fees", self._take_fee),
            control("meters", self._set_metering),
            control("payment_intents/{id}/authenticate", self._authenticate),
            control("payment_intents/{id}/settle", self._settle),
            control("payment_methods/{id}/decline", self._decline_saved),
            control("payouts", self._pay_out),
            control("payouts/{id}/fail", self._fail_payout),
        ]

    def _next_refunds(self, _: Request, body: bytes) -> object:
        asked = read(body, NextRefunds)
        _check_reason(asked.reason)
        return {"planned": refund_outcome.tell_next(self._world, msgspec.structs.asdict(asked))}

    async def _forget_refunds(self, _: Request) -> Response:
        refund_outcome.forget_next(self._world)
        return JSONResponse({"planned": []})

    def _succeed_refund(self, request: Request, _: bytes) -> object:
        refund = self._refund(request)
        refund_outcome.succeed(self._world, refund)
        return {"refund": refund}

    def _fail_refund(self, request: Request, body: bytes) -> object:
        asked, refund = read(body, FailRefund), self._refund(request)
        _check_reason(asked.reason)
        refund_outcome.fail(self._world, refund, reason=asked.reason)
        return {"refund": refund}

    def _open_dispute(self, request: Request, body: bytes) -> object:
        asked, charge = read(body, OpenDispute), self._world.get("charge", request.path_params["id"])
        if asked.reason not in dispute.REASONS:
            raise invalid_parameter("reason", f"Invalid reason: must be one of {', '.join(dispute.REASONS)}")
        opened = dispute.begin(self._world, charge, amount=asked.amount, reason=asked.reason, inquiry=asked.inquiry)
        return {"dispute": opened}

    def _escalate_dispute(self, request: Request, _: bytes) -> object:
        found = self._dispute(request)
        dispute_course.escalate(self._world, found)
        return {"dispute": found}

    def _win_dispute(self, request: Request, body: bytes) -> object:
        found = self._dispute(request)
        dispute_course.win(self._world, found, return_fee=read(body, WinDispute).return_fee)
        return {"dispute": found}

    def _lose_dispute(self, request: Request, _: bytes) -> object:
        found = self._dispute(request)
        dispute_course.lose(self._world, found)
        return {"dispute": found}

    def _end_inquiry(self, request: Request, _: bytes) -> object:
        found = self._dispute(request)
        dispute_course.end_inquiry(self._world, found)
        return {"dispute": found}

    def _take_fee(self, _: Request, body: bytes) -> object:
        asked = read(body, TakeFee)
        moved = balance_transaction.record(
            self._world, {"currency": asked.currency}, "stripe_fee", -asked.amount, description=asked.description
        )
        return {"balance_transaction": moved}

    def _set_metering(self, _: Request, body: bytes) -> object:
        settings = self._world.keep("meter_settings")
        settings["delay_s"] = read(body, Metering).delay_s
        return settings

    def _authenticate(self, request: Request, body: bytes) -> object:
        intent = self._world.get("payment_intent", request.path_params["id"])
        payment.authenticate(self._world, intent, passed=read(body, Answer).passed)
        return {"payment_intent": intent}

    def _settle(self, request: Request, body: bytes) -> object:
        intent = self._world.get("payment_intent", request.path_params["id"])
        payment.settle_debit(self._world, intent, succeeded=read(body, SettleDebit).succeeded)
        return {"payment_intent": intent}

    def _decline_saved(self, request: Request, body: bytes) -> object:
        asked, method = read(body, DeclineSaved), self._world.get("payment_method", request.path_params["id"])
        if asked.reason not in {None, *instrument.DECLINES}:
            raise invalid_parameter("reason", f"Invalid reason: must be one of {', '.join(instrument.DECLINES)}")
        payment_method.tell_to_decline(self._world, method, asked.reason)
        return {"payment_method": method, "reason": asked.reason}

    def _pay_out(self, _: Request, body: bytes) -> object:
        asked = read(body, PayOut)
        made = payout.pay_out(self._world, currency=asked.currency, arrives_after_s=asked.arrives_after_s)
        return {"payouts": made}

    def _fail_payout(self, request: Request, _: bytes) -> object:
        found = self._world.get("payout", request.path_params["id"])
        payout.fail(self._world, found)
        return {"payout": found}

    def _dispute(self, request: Request) -> Object:
        return self._world.get("dispute", request.path_params["id"])

    def _refund(self, request: Request) -> Object:
        return self._world.get("refund", request.path_params["id"])


def _check_reason(reason: str) -> None:
    if reason not in refund_outcome.FAILURES:
        raise invalid_parameter("reason", f"Invalid reason: must be one of {', '.join(refund_outcome.FAILURES)}")
