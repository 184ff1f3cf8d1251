"""Identifiers. Time-ordered ones only on the ledger: a random index key there costs half the throughput."""

import os
import time
from base64 import b32hexencode
from uuid import UUID, uuid5

_REQUEST_NAMESPACE = UUID("6f1c1f0e-3f0b-5d0a-9a5e-7a11f571c000")
_TEXT_ID_CHARS_MAX = 64


def new_id() -> UUID:
    """A version 7 UUID: 48 bits of milliseconds since 1970, then 74 random bits (RFC 9562, 5.7)."""
    value = (time.time_ns() // 1_000_000) << 80 | int.from_bytes(os.urandom(10), "big")
    value = value & ~(0xF << 76) | 0x7 << 76
    return UUID(int=value & ~(0x3 << 62) | 0x2 << 62)


def first_id_at(timestamp_s: float) -> UUID:
    """The smallest version 7 UUID of that moment, to scan holds from a time on by their primary key."""
    return UUID(int=int(timestamp_s * 1000) << 80)


def id_for_request(scope: str, request_id: str) -> UUID:
    """The operation id that stands for a caller's own idempotency id: one per scope (an organization)."""
    return uuid5(_REQUEST_NAMESPACE, f"{scope}\x00{request_id}")


def text_id(prefix: str) -> str:
    """A public id such as `org_069xg2...`: the prefix says what it names, the rest is a time-ordered UUID,
    in digits that sort as text like the number does."""
    return f"{prefix}_{b32hexencode(new_id().bytes).decode().rstrip('=').lower()}"


def is_text_id(text: str) -> bool:
    """Whether `text` could be an id at all. Ask before it reaches SQL: PostgreSQL fails on NUL, and limits nothing."""
    return 0 < len(text) <= _TEXT_ID_CHARS_MAX and text.isascii() and text.isprintable()
