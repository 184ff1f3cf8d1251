"""What the OpenAPI document says about tiers and metered work: who may ask, and examples of answers."""

from typing import Any, Final

from tallystick.api.openapi import SERVICE, answers, error

_ID: Final = "0193a1c2-7b1e-7a55-9d0e-0242ac120002"

TOKEN: Final[dict[str, Any]] = {"parameters": SERVICE}

_UNAUTHORIZED: Final = (401, "Nobody who may ask.", error("unauthorized", "A valid services token is needed."))
_UNKNOWN: Final = (
    422,
    "A field is wrong; it is named.",
    error("unknown_feature", "feature is not in the catalog", field="feature"),
)
_SHORT: Final = (
    402,
    "Not enough credits for what lies beyond the plan's allowance; nothing was held.",
    error(
        "insufficient_credits",
        "Not enough credits. Buy credits, or bring your own provider key.",
        balance=0.03,
        required=0.05,
    ),
)
_CONFLICT: Final = (
    409,
    "The same id with other content, or work that has ended.",
    error("hold_ended", f"hold {_ID} has ended"),
)
_USED_UP: Final = (
    429,
    "Used up; nothing was counted. `Retry-After` says when more becomes free, where waiting helps.",
    error(
        "quota_exceeded",
        "The limit of 100 uses of ad_generations in 30 days is reached.",
        limit_source="quota",
        name="ad_generations",
        limit=100,
        used=100,
        remaining=0,
        retry_at="2026-03-01T09:30:00.123456Z",
        feature="ad_generations",
    ),
)

USAGE: Final = answers(
    (
        200,
        "Every feature, in the 30 days that end now.",
        {
            "tier": "pro",
            "usage": {
                "ad_generations": {"used": 42, "limit": 100, "remaining": 58},
                "brand_analyses": {"used": 12, "limit": 50, "remaining": 38},
            },
            "period_start": "2026-01-28T00:00:00Z",
            "period_end": "2026-02-27T00:00:00Z",
        },
    ),
    _UNAUTHORIZED,
)
CHECK: Final = answers(
    (
        200,
        "Whether the next use would be admitted, and when it would be.",
        {
            "feature": "ad_generations",
            "tier": "pro",
            "allowed": False,
            "used": 100,
            "limit": 100,
            "remaining": 0,
            "retry_at": "2026-03-01T09:30:00.123456Z",
            "reason": "The limit of 100 uses of ad_generations in 30 days is reached.",
        },
    ),
    _UNAUTHORIZED,
    _UNKNOWN,
)
USE: Final = answers(
    (
        200,
        "Counted.",
        {
            "id": _ID,
            "feature": "ad_generations",
            "units": 1,
            "used": 43,
            "limit": 100,
            "remaining": 57,
            "resets_at": "2026-03-01T09:30:00.123456Z",
            "repeated": False,
        },
    ),
    _UNAUTHORIZED,
    _CONFLICT,
    _UNKNOWN,
    _USED_UP,
)
GIVE_BACK: Final = answers((200, "It is as if it had never been.", {"given_back": True}), _UNAUTHORIZED)
RESERVE: Final = answers(
    (
        200,
        "Held; `layer` is who pays, `amount` the credits set aside.",
        {
            "id": _ID,
            "meter": "document_page",
            "quantity": 12,
            "layer": "included",
            "amount": 0,
            "repeated": False,
        },
    ),
    _UNAUTHORIZED,
    _SHORT,
    _CONFLICT,
    _USED_UP,
)
SETTLE: Final = answers(
    (
        200,
        "What it came to, in credits.",
        {
            "id": _ID,
            "meter": "document_page",
            "quantity": 9,
            "charged": 0.09,
            "balance": 18.41,
            "available": 18.41,
        },
    ),
    _UNAUTHORIZED,
    _CONFLICT,
)
RELEASE: Final = answers((200, "Everything was given back.", {"released": True}), _UNAUTHORIZED, _CONFLICT)
