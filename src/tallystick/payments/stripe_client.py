"""Stripe, as far as we need it: the only module that imports its SDK, and the only one that knows its errors."""

import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import datetime
from typing import Any, Final

import msgspec
import stripe
import structlog
from stripe.params.checkout import SessionCreateParams

from tallystick.base.errors import Misconfigured
from tallystick.payments.errors import BadWebhook, PaymentPending, PaymentRefused

# Pinned and sent with every call: an upgrade of the SDK must not change what the answers mean.
API_VERSION: Final = "2026-10-28.endive"
SIGNATURE_AGE_MAX_S: Final = 300
_EVENTS_PAGE: Final = 100

# The SDK would send the platform with every call and keep an id of this machine in a file.
stripe.enable_telemetry = False

_log = structlog.get_logger()


class CheckoutOrder(msgspec.Struct, frozen=True, kw_only=True):
    """What Stripe must know of an order. The same order id with other content is refused by Stripe."""

    id: str
    organization: str
    user_id: str
    customer: str
    title: str
    amount_minor: int
    currency: str
    success_url: str
    cancel_url: str


class CheckoutSession(msgspec.Struct, frozen=True, kw_only=True):
    id: str
    url: str


class _Http(stripe.HTTPXClient):
    """The SDK hands a body to httpx in a way that httpx deprecates; the only other async client it has loses the
    connection errors that come while an answer is being read."""

    def _get_request_args_kwargs(
        self, method: str, url: str, headers: Mapping[str, str], post_data: object
    ) -> tuple[list[Any], dict[str, Any]]:
        args, kwargs = super()._get_request_args_kwargs(method, url, headers, post_data)
        if isinstance(kwargs["data"], str | bytes):
            kwargs["content"] = kwargs.pop("data")
        return args, kwargs


class StripeClient:
    """Calls Stripe with one key; `api_base` is another address for it, the offline stand-in's."""

    def __init__(self, api_key: str, *, api_base: str | None = None, timeout_s: float = 10.0, retries: int = 2) -> None:
        self.livemode = "_live_" in api_key
        self._http = _Http(timeout=timeout_s)
        self._client = stripe.StripeClient(
            api_key,
            stripe_version=API_VERSION,
            base_addresses={"api": api_base.rstrip("/")} if api_base else None,
            # The SDK repeats a call with the idempotency key it had, so a repetition can never do it twice.
            max_network_retries=retries,
            http_client=self._http,
        )

    async def close(self) -> None:
        await self._http.close_async()  # type: ignore[no-untyped-call]

    async def create_customer(self, organization: str, *, order_id: str) -> str:
        """A customer that stands for an organization at Stripe; the same one when the same order asks again."""
        with _known_errors():
            customer = await self._client.v1.customers.create_async(
                {"metadata": {"organization": organization}},
                # By order, not by organization: Stripe remembers a failure under its key, too, and it must not stay.
                {"idempotency_key": f"{order_id}-customer"},
            )
        return customer.id

    async def create_checkout_session(self, order: CheckoutOrder) -> CheckoutSession:
        """Where the buyer can pay the order; the same session when it is asked for again."""
        with _known_errors():
            session = await self._client.v1.checkout.sessions.create_async(
                _session_parameters(order), {"idempotency_key": order.id}
            )
        if not session.url:
            raise PaymentRefused("The payment provider gave no page to pay on. Start a new purchase.")
        return CheckoutSession(id=session.id, url=session.url)

    async def events_since(self, since: datetime, types: Sequence[str]) -> list[bytes]:
        """The events of these types from `since` on, as webhook bodies, oldest first."""
        with _known_errors():
            page = await self._client.v1.events.list_async(
                {"created": {"gte": int(since.timestamp())}, "types": list(types), "limit": _EVENTS_PAGE}
            )
            found = [msgspec.json.encode(event.to_dict()) async for event in page.auto_paging_iter()]
        return found[::-1]


def verify_signature(body: bytes, header: str | None, secrets: Sequence[str]) -> None:
    """Raises BadWebhook unless one of `secrets` signed exactly these bytes, lately."""
    # The SDK compares text, and its comparison fails on characters that no signature has.
    if header is None or not header.isascii():
        raise BadWebhook("The Stripe-Signature header is missing or malformed.")
    for secret in secrets:
        try:
            stripe.WebhookSignature.verify_header(body, header, secret, SIGNATURE_AGE_MAX_S)
        except (stripe.SignatureVerificationError, UnicodeDecodeError):
            continue
        return
    raise BadWebhook("No accepted secret signed this body, or it was signed too long ago.")


def sign(body: bytes, secret: str, *, at: float | None = None) -> str:
    """The Stripe-Signature header that verify_signature accepts for these bytes."""
    timestamp = int(time.time() if at is None else at)
    header: str = stripe.WebhookSignature.generate_signature_header(body.decode(), secret, timestamp=timestamp)
    return header


def _session_parameters(order: CheckoutOrder) -> SessionCreateParams:
    metadata = {"order_id": order.id, "organization": order.organization, "user_id": order.user_id}
    return {
        "mode": "payment",
        "customer": order.customer,
        "client_reference_id": order.id,
        "success_url": order.success_url,
        "cancel_url": order.cancel_url,
        "line_items": [
            {
                "quantity": 1,
                "price_data": {
                    "currency": order.currency,
                    "unit_amount": order.amount_minor,
                    "product_data": {"name": order.title},
                },
            }
        ],
        # What is paid must be what was ordered, in the currency it was ordered in.
        "adaptive_pricing": {"enabled": False},
        "metadata": metadata,
        # The payment has an event of its own, which may come first and must name its order by itself.
        "payment_intent_data": {"metadata": metadata},
    }


@contextmanager
def _known_errors() -> Iterator[None]:
    """Tell what Stripe refused from what it may have done: only a refusal that it confirmed means nothing was done."""
    try:
        yield
    except (stripe.AuthenticationError, stripe.PermissionError) as error:
        _log.error("stripe_key_refused", status=error.http_status, stripe_request=error.request_id)
        raise Misconfigured("Payments are not set up correctly on this server. Its operator must mend that.") from error
    except stripe.StripeError as error:
        status = error.http_status or 0
        _log.warning(
            "stripe_call_failed",
            status=status,
            kind=type(error).__name__,
            code=error.code,
            stripe_request=error.request_id,
        )
        # 409: a twin of this call is still under way. 429: come again later.
        if 400 <= status < 500 and status not in {409, 429}:
            raise PaymentRefused("The payment provider refused this purchase.") from error
        raise PaymentPending(
            "The payment provider could not be reached. You were not charged. "
            "Send the same request again, with the same Idempotency-Key, to go on; or start a new purchase.",
            retry_after=5,
        ) from error
