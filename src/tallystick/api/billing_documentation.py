"""What the OpenAPI document says about the billing API: bodies that FastAPI does not parse, and examples of answers."""

from typing import Any, Final

from tallystick.api.openapi import answers, body, error, fields

_ADDRESS: Final[dict[str, Any]] = {
    "type": "string",
    "format": "uri",
    "maxLength": 2000,
    "description": "https, and a host that this server's operator allows.",
}
_REFUSED: Final = (
    (401, "No, unknown, revoked or expired API key.", error("unauthorized", "Sign in first.")),
    (403, "A key without the billing scope, or a member without the billing permission.", error(
        "missing_scope", "This API key does not have the billing scope. Make one that has it, or sign in.")),
)  # fmt: skip
_ADDRESS_REFUSED: Final = (
    422,
    "A field is wrong; it is named.",
    error(
        "invalid_request",
        "returnUrl must lead to a host that this server's operator allows, which evil.example is not",
        field="returnUrl",
    ),
)
_AWAY: Final = (
    503,
    "Stripe does not answer, or is not set up. Send the same request again.",
    error("payment_provider_unavailable", "The payment provider could not be reached.", retry_after=5),
)
_NOT_READY: Final = error(
    "customer_not_ready",
    "This organization's customer at the payment provider is still being created. Try again in a moment.",
)

CHECKOUT_BODY: Final = body(
    fields(
        {
            "priceId": {
                "type": "string",
                "maxLength": 200,
                "description": "The price at Stripe of a plan that is on sale.",
            },
            "successUrl": _ADDRESS,
            "cancelUrl": _ADDRESS,
        },
        "priceId",
        "successUrl",
        "cancelUrl",
    ),
    {
        "priceId": "price_1QxGrowth",
        "successUrl": "https://app.example.com/settings/billing?success=1",
        "cancelUrl": "https://app.example.com/settings/billing",
    },
)
CHECKOUT: Final = answers(
    (200, "Where to subscribe.", {"url": "https://checkout.stripe.com/c/pay/cs_live_a1b2"}),
    *_REFUSED,
    (404, "No plan has this price.", error("not_found", "There is no plan with this price.")),
    (409, "`customer_not_ready`, `plan_not_on_sale` or `already_subscribed`.", _NOT_READY),
    _ADDRESS_REFUSED,
    _AWAY,
)
PORTAL_BODY: Final = body(
    fields({"returnUrl": _ADDRESS}, "returnUrl"), {"returnUrl": "https://app.example.com/settings/billing"}
)
PORTAL: Final = answers(
    (200, "Where to look after cards, invoices and the subscription.", {"url": "https://billing.stripe.com/p/bps_1"}),
    *_REFUSED,
    (409, "`customer_not_ready`.", _NOT_READY),
    _ADDRESS_REFUSED,
    _AWAY,
)
STATUS: Final = answers(
    (
        200,
        "The plan in force, and what was used in the billing period.",
        {
            "plan": "growth",
            "status": "active",
            "currentPeriodEnd": "2026-07-01T00:00:00Z",
            "meteredEnabled": True,
            "sessionCount": 142,
            "llmTokens": 4280000,
        },
    ),
    *_REFUSED,
)
INVOICES: Final = answers(
    (
        200,
        "The newest first.",
        {
            "invoices": [
                {
                    "id": "in_1Qx",
                    "number": "A1B2-0003",
                    "status": "paid",
                    "currency": "usd",
                    "amount_due_minor": 9900,
                    "amount_paid_minor": 9900,
                    "period_start": "2026-06-01T00:00:00Z",
                    "period_end": "2026-07-01T00:00:00Z",
                    "created_at": "2026-06-01T00:00:00Z",
                    "paid_at": "2026-06-01T00:00:03Z",
                    "url": "https://invoice.stripe.com/i/acct_1/live_1",
                    "pdf": "https://pay.stripe.com/invoice/acct_1/live_1/pdf",
                }
            ],
            "next_cursor": None,
        },
    ),
    *_REFUSED,
)
