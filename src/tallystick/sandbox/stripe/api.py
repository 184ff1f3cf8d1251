"""The way of one API call: key, version, idempotency, faults, the endpoint, expansion, answer."""

import asyncio
import base64
import binascii
import re
from collections.abc import Sequence
from typing import Final

from starlette.requests import Request
from starlette.responses import Response

from tallystick.sandbox.stripe import (
    balance_transaction,
    charge,
    checkout_session,
    collection,
    customer,
    dispute,
    event,
    form,
    invoice,
    invoice_payment,
    meter,
    meter_event,
    payment_intent,
    payment_method,
    payout,
    pending_item,
    portal_configuration,
    portal_session,
    price,
    product,
    refund,
    subscription,
    webhook_endpoint,
)
from tallystick.sandbox.stripe.call import Call, Endpoint, Route, find_route
from tallystick.sandbox.stripe.connection import reset
from tallystick.sandbox.stripe.expansion import expanded
from tallystick.sandbox.stripe.fault import BEFORE_WORK, Fault, Faults, Target
from tallystick.sandbox.stripe.idempotency import Answer, Keys
from tallystick.sandbox.stripe.json_text import written
from tallystick.sandbox.stripe.parameters import Parameters
from tallystick.sandbox.stripe.refusal import Refusal
from tallystick.sandbox.stripe.world import API_VERSION, Origin, World

_VERSION: Final = re.compile(r"\d{4}-\d{2}-\d{2}(\.[a-z]+)?")
_BODY_MAX: Final = 1_000_000

ROUTES: Final[Sequence[Route]] = (
    *customer.routes,
    *checkout_session.routes,
    *payment_intent.routes,
    *payment_method.routes,
    *charge.routes,
    *refund.routes,
    *dispute.routes,
    *event.routes,
    *webhook_endpoint.routes,
    *price.routes,
    *product.routes,
    *balance_transaction.routes,
    *payout.routes,
    *meter.routes,
    *meter_event.routes,
    *subscription.routes,
    *invoice.routes,
    *collection.routes,
    *invoice_payment.routes,
    *pending_item.routes,
    *portal_configuration.routes,
    *portal_session.routes,
)


class Api:
    """`/v1/*`. With no secret keys named, any `sk_test_...` opens it."""

    def __init__(self, world: World, idempotency: Keys, faults: Faults, secret_keys: Sequence[str] = ()) -> None:
        self._world = world
        self._idempotency = idempotency
        self._faults = faults
        self._secret_keys = tuple(secret_keys)

    async def __call__(self, request: Request) -> Response:
        request_id = self._world.identifiers.new("req_")
        headers = {"Request-Id": request_id, "Stripe-Version": request.headers.get("stripe-version", API_VERSION)}
        fault = None
        try:
            self._authenticate(request)
            _check_version(headers["Stripe-Version"])
            endpoint, identifier = _endpoint(request)
            text = await _read(request)
            fault = self._faults.take(_target(request, identifier))
            answer = await self._answer(request, endpoint, identifier, text, request_id, fault)
        except Refusal as refused:
            answer = _refused(refused, request_id)
        if fault is not None and fault.kind in {"reset_before", "reset_after", "timeout"}:
            if fault.kind == "timeout":
                await asyncio.sleep(fault.seconds)
            return reset(request)
        return _response(request, answer, headers)

    async def _answer(
        self, request: Request, endpoint: Endpoint, identifier: str, text: str, request_id: str, fault: Fault | None
    ) -> Answer:
        """Runs the endpoint once per idempotency key. Only POST has effects to repeat, so only POST has keys."""
        key = request.headers.get("idempotency-key") if request.method == "POST" else None
        if key is not None:
            stored = self._idempotency.begin(key, request.method, request.url.path, text, self._world.now())
            if stored is not None:
                return stored
        kept = True
        try:
            if fault is not None and fault.kind in BEFORE_WORK:
                raise _failure(fault)
            parameters = form.decode(text)
            call = Call(self._world, Parameters(parameters), request.url.path, identifier)
            with self._world.requested_by(Origin(request_id, key)):
                answer = _run(endpoint, call, request_id)
            if fault is not None and fault.kind == "slow":
                await asyncio.sleep(fault.seconds)
        except Refusal as refused:
            answer, kept = _refused(refused, request_id), refused.kept
        if key is not None and kept:
            self._idempotency.finish(key, answer)
        elif key is not None:
            self._idempotency.abandon(key)
        return answer

    def _authenticate(self, request: Request) -> None:
        scheme, _, given = request.headers.get("authorization", "").partition(" ")
        key = _basic_user(given) if scheme.lower() == "basic" else given.strip()
        if not key or scheme.lower() not in {"basic", "bearer"}:
            message = (
                "You did not provide an API key. You need to provide your API key in the Authorization header, using "
                "Bearer auth (e.g. 'Authorization: Bearer YOUR_SECRET_KEY')."
            )
            raise Refusal(401, message, kept=False)
        known = key in self._secret_keys if self._secret_keys else re.fullmatch(r"[sr]k_test_\w+", key)
        if not known:
            raise Refusal(401, f"Invalid API Key provided: {key[:8]}{'*' * 8}{key[-4:]}", kept=False)


def _run(endpoint: Endpoint, call: Call, request_id: str) -> Answer:
    paths = call.parameters.texts("expand")
    shown = expanded(call.world, endpoint(call), paths)
    return Answer(200, written(shown), request_id)


def _refused(refused: Refusal, request_id: str) -> Answer:
    return Answer(refused.status, written(refused.body(request_id)), request_id)


def _failure(fault: Fault) -> Refusal:
    if fault.kind == "error_500":
        return Refusal(500, "An unknown error occurred (a planned fault of the sandbox).", kind="api_error")
    if fault.kind == "bad_gateway_502":
        return Refusal(502, "Bad gateway (a planned fault of the sandbox).", kind="api_error", kept=False)
    if fault.kind == "rate_limited_429":
        return Refusal(429, "Request rate limit exceeded.", code="rate_limit", kept=False)
    return Refusal(503, "Stripe is not available (a planned fault of the sandbox).", kind="api_error", kept=False)


def _endpoint(request: Request) -> tuple[Endpoint, str]:
    found = find_route(ROUTES, request.method, request.url.path)
    if found is None:
        message = (
            f"Unrecognized request URL ({request.method}: {request.url.path}). "
            "The sandbox simulates only a part of Stripe's API."
        )
        raise Refusal(404, message, kept=False)
    return found


def _target(request: Request, identifier: str) -> Target:
    path = request.url.path
    template = path.replace(f"/{identifier}", "/{id}", 1) if identifier else path
    return Target(request.method, path, template, request.headers.get("idempotency-key"))


async def _read(request: Request) -> str:
    """The form of a call: its query for GET and DELETE, its body for POST."""
    if request.method != "POST":
        return request.url.query
    body = await request.body()
    kind = request.headers.get("content-type", "application/x-www-form-urlencoded").partition(";")[0].strip()
    if len(body) > _BODY_MAX or (body and kind != "application/x-www-form-urlencoded"):
        raise Refusal(400, "Invalid request: send a form (application/x-www-form-urlencoded).", kept=False)
    try:
        return body.decode()
    except UnicodeDecodeError as error:
        raise Refusal(400, "Invalid request: the form is not UTF-8.", kept=False) from error


def _check_version(version: str) -> None:
    if not _VERSION.fullmatch(version):
        raise Refusal(400, f"Invalid Stripe API version: {version}", kept=False)


def _response(request: Request, answer: Answer, headers: dict[str, str]) -> Response:
    if key := request.headers.get("idempotency-key"):
        headers |= {"Idempotency-Key": key, "Original-Request": answer.request_id}
        if answer.request_id != headers["Request-Id"]:
            headers["Idempotent-Replayed"] = "true"
    if answer.status >= 400:
        # A kept 500 would only be replayed, so Stripe asks not to try that one again.
        headers["Stripe-Should-Retry"] = "true" if answer.status in {409, 429, 502, 503} else "false"
    return Response(answer.body, answer.status, headers, media_type="application/json")


def _basic_user(encoded: str) -> str:
    try:
        return base64.b64decode(encoded, validate=True).decode().partition(":")[0]
    except (binascii.Error, UnicodeDecodeError):
        return ""
