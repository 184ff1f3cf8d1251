"""What the OpenAPI document says about orders, top-ups and alerts: bodies that are read exactly, and examples."""

from typing import Any, Final

from tallystick.api.openapi import answers, body, error, fields

_CREDITS: Final[dict[str, Any]] = {"type": "number", "exclusiveMinimum": 0}
_TEXT: Final[dict[str, Any]] = {"type": "string", "minLength": 1, "maxLength": 200}
_FORBIDDEN: Final = (
    403,
    "The role or the key may not see to billing.",
    error("forbidden", "The role viewer does not have the billing permission.", roles=["admin", "billing", "owner"]),
)
_ORDER: Final = {
    "id": "ord_agj2dqr3dz5flhioajbkyeqaai",
    "kind": "manual",
    "state": "awaiting_payment",
    "reason": None,
    "pack": None,
    "coupon": None,
    "amount": 2500.0,
    "discount": 0.0,
    "currency": "usd",
    "credits": 2500.0,
    "refunded": 0.0,
    "disputed": 0.0,
    "reference": "PO 4711",
    "transfer_to": "Example Bank, IBAN DE02 1203 0000 0000 2020 51",
    "checkout_url": None,
    "created_at": "2026-02-25T10:00:00Z",
    "credited_at": None,
}
_TOP_UP: Final = {
    "enabled": True,
    "threshold": 5.0,
    "amount": 25.0,
    "monthly_max": 100.0,
    "cool_down_s": 600,
    "card": "visa 4242",
    "stopped": None,
    "stopped_at": None,
    "charged_this_month": 25.0,
}

ORDER_BODY: Final = body(
    fields(
        {
            "amount": {**_CREDITS, "description": "Credits, of at most two decimals; or pack."},
            "pack": {**_TEXT, "description": "A pack on sale, those with the payment manual included."},
            "reference": {**_TEXT, "description": "What your transfer will name; by default the order's id."},
            "coupon": {**_TEXT, "description": "A code that makes it cheaper, or adds credits."},
        }
    ),
    {"amount": 2500, "reference": "PO 4711"},
)
ORDER_MADE: Final = answers(
    (201, "What to transfer, and with which reference.", _ORDER),
    _FORBIDDEN,
    (503, "No account to transfer to is set up.", error("manual_settlement_closed", "Buy by card.", retry_after=60)),
)
ORDER: Final = answers(
    (200, "The order.", _ORDER),
    _FORBIDDEN,
    (404, "No order of this organization.", error("not_found", "There is no such order.")),
)
ORDERS: Final = answers((200, "A page, newest first.", {"orders": [_ORDER], "next_cursor": None}), _FORBIDDEN)
TOP_UP_BODY: Final = body(
    fields(
        {
            "threshold": {**_CREDITS, "description": "Below this many credits that can be spent the card is charged."},
            "amount": {**_CREDITS, "description": "Credits bought each time."},
            "monthly_max": {**_CREDITS, "description": "Never more than this within a calendar month, in UTC."},
            "cool_down_s": {
                "type": "integer",
                "minimum": 60,
                "description": "Seconds between two charges; 600 by default.",
            },
            "enabled": {"type": "boolean", "description": "True by default."},
            "payment_method": {**_TEXT, "description": "A saved card's id at Stripe; by default the one saved last."},
        },
        "threshold",
        "amount",
        "monthly_max",
    ),
    {"threshold": 5, "amount": 25, "monthly_max": 100},
)
TOP_UP: Final = answers(
    (200, "What is agreed. `stopped` says why nothing is charged until it is set again.", {"top_up": _TOP_UP}),
    _FORBIDDEN,
    (409, "There is no saved card.", error("no_saved_card", "Buy credits once with save_card.")),
)
ALERTS_BODY: Final = body(
    fields({"thresholds": {"type": "array", "maxItems": 10, "items": _CREDITS}}, "thresholds"),
    {"thresholds": [20, 5]},
)
ALERTS: Final = answers((200, "At which balances it is told.", {"thresholds": [20.0, 5.0]}), _FORBIDDEN)
