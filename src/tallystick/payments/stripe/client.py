"""A connection to Stripe with one key, and what its errors mean. What is asked of it stands in the modules beside."""

import logging
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Final

import stripe
import structlog

from tallystick.base.errors import Misconfigured
from tallystick.payments.errors import PaymentPending, PaymentRefused

# Pinned and sent with every call: an upgrade of the SDK must not change what the answers mean.
API_VERSION: Final = "2026-10-28.endive"

# The SDK would send the platform with every call and keep an id of this machine in a file.
stripe.enable_telemetry = False

_log = structlog.get_logger()


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
    """Calls Stripe with one key; `api_base` is another address for it, the offline stand-in's.

    `v1` is the SDK's own: use it within `known_errors`, and nowhere but in this package."""

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
        self.v1 = self._client.v1

    async def close(self) -> None:
        await self._http.close_async()  # type: ignore[no-untyped-call]


@contextmanager
def known_errors(*, may_be_missing: bool = False) -> Iterator[None]:
    """Tell what Stripe refused from what it may have done: only a refusal that it confirmed means nothing was done.

    Who asks whether something is there has an answer when it is not: nobody is warned of that.
    """
    try:
        yield
    except (stripe.AuthenticationError, stripe.PermissionError) as error:
        _log.error("stripe_key_refused", status=error.http_status, stripe_request=error.request_id)
        raise Misconfigured("Payments are not set up correctly on this server. Its operator must mend that.") from error
    except stripe.StripeError as error:
        status = error.http_status or 0
        expected = may_be_missing and error.code == "resource_missing"
        _log.log(
            logging.INFO if expected else logging.WARNING,
            "stripe_call_failed",
            status=status,
            kind=type(error).__name__,
            code=error.code,
            stripe_request=error.request_id,
        )
        # 409: a twin of this call is still under way. 429: come again later.
        if 400 <= status < 500 and status not in {409, 429}:
            raise PaymentRefused("The payment provider refused this.", reason=error.code) from error
        raise PaymentPending(
            "The payment provider could not be reached. You were not charged. "
            "Send the same request again, with the same Idempotency-Key, to go on; or start a new purchase.",
            retry_after=5,
        ) from error
