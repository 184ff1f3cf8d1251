"""The Stripe-Signature of webhooks: checked as the SDK checks it, and made for tests and tools."""

import time
from collections.abc import Sequence
from typing import Final

import stripe

from tallystick.payments.errors import BadWebhook

SIGNATURE_AGE_MAX_S: Final = 300


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
