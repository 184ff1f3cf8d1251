"""Webhook signatures: `t=<seconds>,v1=<HMAC-SHA256 of "t.body">`, keyed with the endpoint's secret."""

import hashlib
import hmac


def sign(body: bytes, secret: str, at: int) -> str:
    """The value of the Stripe-Signature header for a body sent at a time."""
    digest = hmac.new(secret.encode(), f"{at}.".encode() + body, hashlib.sha256).hexdigest()
    return f"t={at},v1={digest}"
