"""The fields of an invoice before anything was put on it, as the pinned API version shows them."""

from typing import Final

from tallystick.sandbox.stripe.world import Object

# Features an invoice can have and this one has not.
_UNUSED: Final = (
    "account_tax_ids",
    "application",
    "automatically_finalizes_at",
    "custom_fields",
    "customer_account",
    "customer_shipping",
    "default_payment_method",
    "default_source",
    "description",
    "due_date",
    "effective_at",
    "ending_balance",
    "footer",
    "from_invoice",
    "hosted_invoice_url",
    "invoice_pdf",
    "last_finalization_error",
    "latest_revision",
    "next_payment_attempt",
    "number",
    "on_behalf_of",
    "receipt_number",
    "rendering",
    "shipping_cost",
    "shipping_details",
    "statement_descriptor",
    "status_details",
    "test_clock",
    "webhooks_delivered_at",
)
_TRANSITIONS: Final = ("finalized_at", "marked_uncollectible_at", "paid_at", "voided_at")


def defaults(identifier: str, now: int) -> Object:
    fields: Object = dict.fromkeys(_UNUSED)
    fields |= {
        "id": identifier,
        "object": "invoice",
        "account_country": "US",
        "account_name": "Sandbox",
        "amount_overpaid": 0,
        "amount_paid": 0,
        "amount_paid_off_stripe": 0,
        "amount_shipping": 0,
        "attempt_count": 0,
        "attempted": False,
        "auto_advance": True,
        "automatic_tax": dict.fromkeys(("disabled_reason", "liability", "provider", "status")) | {"enabled": False},
        "collection_method": "charge_automatically",
        "created": now,
        "customer_tax_ids": [],
        "default_tax_rates": [],
        "discounts": [],
        "issuer": {"account": None, "type": "self"},
        "livemode": False,
        "metadata": {},
        "payment_settings": dict.fromkeys(("default_mandate", "payment_method_options", "payment_method_types")),
        "post_payment_credit_notes_amount": 0,
        "pre_payment_credit_notes_amount": 0,
        "status": "draft",
        "status_transitions": dict.fromkeys(_TRANSITIONS),
        "total_discount_amounts": [],
        "total_pretax_credit_amounts": [],
        "total_taxes": [],
    }
    return fields
