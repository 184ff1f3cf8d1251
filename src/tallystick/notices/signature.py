"""Sign webhooks as the standard-webhooks specification says: receivers verify them with any of its libraries. Pure.

The signature is HMAC-SHA256, in base64, over "id.timestamp.body" with the bytes behind the secret's prefix.
"""

import hashlib
import hmac
import secrets
from base64 import b64decode, b64encode
from collections.abc import Sequence
from datetime import datetime
from typing import Final

PREFIX: Final = "whsec_"
_SECRET_BYTES: Final = 32


def new_secret() -> str:
    """What the receiver verifies with."""
    return PREFIX + b64encode(secrets.token_bytes(_SECRET_BYTES)).decode()


def headers(message: str, at: datetime, body: bytes, signers: Sequence[str]) -> dict[str, str]:
    """The three headers of a message sent at that moment. Each of the secrets signs: a receiver has one of them."""
    timestamp = str(int(at.timestamp()))
    return {
        "webhook-id": message,
        "webhook-timestamp": timestamp,
        "webhook-signature": " ".join(f"v1,{_sign(secret, message, timestamp, body)}" for secret in signers),
    }


def _sign(secret: str, message: str, timestamp: str, body: bytes) -> str:
    key = b64decode(secret.removeprefix(PREFIX))
    return b64encode(hmac.digest(key, f"{message}.{timestamp}.".encode() + body, hashlib.sha256)).decode()
