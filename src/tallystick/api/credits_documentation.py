"""What the OpenAPI document says about the credits API: bodies that FastAPI does not parse, and examples of answers."""

from typing import Final

from tallystick.api.openapi import NO_SERVICE, NOT_SIGNED_IN, answers, body, error, fields, header

_MONEY: Final = {
    "type": "number",
    "exclusiveMinimum": 0,
    "description": "Credits, as a JSON number of at most nine decimals; never a text.",
}
_USER: Final = {"type": "string", "description": "The id of a user or of an organization."}
_REQUEST: Final = {
    "type": "string",
    "maxLength": 200,
    "description": "Your own id for this charge: the same one is charged once, with another amount it is a 409.",
}
_DEDUCTION: Final = fields({"user_id": _USER, "amount": _MONEY, "request_id": _REQUEST}, "user_id", "amount")
_SERVICE: Final = [
    header(name, "One of the two headers must carry one of the server's services tokens.", required=False)
    for name in ("X-Tallystick-Services-Token", "X-Reeve-Services-Token")
]

_SHORT: Final = error(
    "insufficient_credits",
    "Not enough credits. Buy credits, or bring your own provider key.",
    balance=0.03,
    required=0.05,
)
_BAD: Final = (
    422,
    "A field is wrong; it is named.",
    error("invalid_amount", "amount must be greater than zero", field="amount"),
)
_DONE: Final = {
    "id": "0193a1c2-7b1e-7a55-9d0e-0242ac120002",
    "user_id": "user_abc123",
    "request_id": "call-42",
    "deducted": 0.05,
    "balance": 18.45,
}

BALANCE: Final = answers(
    (
        200,
        "What there is.",
        {
            "balance": 18.5,
            "available": 18.25,
            "held": 0.25,
            "last_purchase_at": "2026-02-25T10:00:00Z",
            "last_deduction_at": "2026-02-27T11:30:00Z",
        },
    ),
    NOT_SIGNED_IN,
)
HISTORY: Final = answers(
    (
        200,
        "A page, newest first.",
        {
            "transactions": [
                {
                    "type": "deduction",
                    "amount": -0.05,
                    "created_at": "2026-02-27T11:30:00Z",
                    "id": "0193a1c2-7b1e-7a55-9d0e-0242ac120002",
                },
                {
                    "type": "purchase",
                    "amount": 25.0,
                    "created_at": "2026-02-25T10:00:00Z",
                    "id": "0193a1b0-11aa-5c3d-8e2f-0242ac120002",
                },
            ],
            "next_cursor": None,
        },
    ),
    NOT_SIGNED_IN,
)
PURCHASE_BODY: Final = body(
    {
        "type": "object",
        "additionalProperties": False,
        "properties": {
            "amount": _MONEY,
            "pack": {"type": "string", "description": "The name of a pack on sale."},
            "coupon": {"type": "string", "description": "A code that makes it cheaper, or adds credits."},
            "save_card": {"type": "boolean", "description": "Whether top-ups may charge this card later."},
        },
        "description": "Either amount, of at most two decimals, or pack.",
    },
    {"amount": 25},
)
PURCHASE: Final = answers(
    (
        200,
        "Where to pay.",
        {
            "checkout_url": "https://checkout.stripe.com/c/pay_...",
            "session_id": "cs_live_...",
            "order_id": "ord_agj2dqr3dz5flhioajbkyeqaai",
        },
    ),
    NOT_SIGNED_IN,
    (409, "The Idempotency-Key belongs to another purchase.", error("conflict", "Use a new Idempotency-Key.")),
    _BAD,
    (
        503,
        "Stripe is away. You were not charged: send the same again.",
        error("payment_provider_unavailable", "The payment provider could not be reached.", idempotency_key="ord_..."),
    ),
)
PACKS: Final = answers(
    (
        200,
        "The packs, the smallest first.",
        {
            "packs": [
                {
                    "pack": "standard",
                    "name": "Standard",
                    "description": "For teams running production apps.",
                    "amount_minor": 2500,
                    "currency": "usd",
                    "credits": 25.0,
                    "payment": "checkout",
                }
            ]
        },
    ),
    NOT_SIGNED_IN,
)
REDEEM_BODY: Final = body(
    fields({"code": {"type": "string", "description": "As it was printed, in capitals or not."}}, "code"),
    {"code": "WELCOME-5"},
)
REDEEM: Final = answers(
    (200, "The credits are there.", {"credits": 5.0, "expires_at": "2026-06-30T00:00:00Z", "balance": 23.5}),
    NOT_SIGNED_IN,
    (404, "There is no such coupon.", error("coupon_not_found", "There is no such coupon.")),
    (409, "It cannot be used, and why.", error("coupon_used_up", "Your organization has used this coupon already.")),
    (429, "Too many wrong codes.", error("rate_limit_exceeded", "Too many attempts.", retry_after=600)),
)
WEBHOOK_BODY: Final = body({"type": "object", "description": "A Stripe event."}, {"id": "evt_...", "object": "event"})
WEBHOOK: Final = answers(
    (200, "The event is stored.", {"received": True}),
    (400, "Not signed by Stripe, or changed.", error("invalid_webhook", "No accepted secret signed this body.")),
    (503, "No signing secret is set: closed.", error("webhook_closed", "This server takes no webhooks.")),
)
DEDUCT_BODY: Final = {
    **body(_DEDUCTION, {"user_id": "user_abc123", "amount": 0.05, "request_id": "call-42"}),
    "parameters": _SERVICE,
}
DEDUCT: Final = answers(
    (200, "Charged.", _DONE),
    NO_SERVICE,
    (402, "Not enough credits; nothing was charged.", _SHORT),
    (404, "No such user.", error("not_found", "There is no such user or organization.")),
    (409, "The request_id was charged with another amount.", error("hold_conflict", "...")),
    _BAD,
)
BATCH_BODY: Final = {
    **body(
        fields({"deductions": {"type": "array", "minItems": 1, "maxItems": 1000, "items": _DEDUCTION}}, "deductions"),
        {
            "deductions": [
                {"user_id": "user_abc123", "amount": 0.05, "request_id": "call-42"},
                {"user_id": "user_abc123", "amount": 0.12},
            ]
        },
    ),
    "parameters": _SERVICE,
}
BATCH: Final = answers(
    (
        200,
        "One result per deduction.",
        {
            "results": [_DONE, {"user_id": "user_abc123", "request_id": None, "status": 402, **_SHORT}],
            "succeeded": 1,
            "failed": 1,
            "deducted": 0.05,
        },
    ),
    NO_SERVICE,
    _BAD,
)
