"""The fields of a subscription before anything was asked of it, as the pinned API version shows them."""

from typing import Final

from tallystick.sandbox.stripe.world import Object

# Features a subscription can have and this one has not.
_UNUSED: Final = (
    "application",
    "application_fee_percent",
    "billing_cycle_anchor_config",
    "billing_thresholds",
    "cancel_at",
    "canceled_at",
    "customer_account",
    "days_until_due",
    "default_payment_method",
    "default_source",
    "description",
    "ended_at",
    "latest_invoice",
    "managed_payments",
    "next_pending_invoice_item_invoice",
    "on_behalf_of",
    "pause_collection",
    "pending_invoice_item_interval",
    "pending_setup_intent",
    "pending_update",
    "schedule",
    "status_details",
    "test_clock",
    "transfer_data",
    "trial_end",
    "trial_start",
)
TRIAL_SETTINGS: Final = {"end_behavior": {"billing_cycle_anchor": None, "missing_payment_method": "create_invoice"}}


def defaults(identifier: str, now: int) -> Object:
    fields: Object = dict.fromkeys(_UNUSED)
    fields |= {
        "id": identifier,
        "object": "subscription",
        "automatic_tax": {"disabled_reason": None, "enabled": False, "liability": None},
        "billing_mode": {"flexible": {"proration_discounts": "included"}, "type": "flexible", "updated_at": None},
        "billing_schedules": [],
        "cancel_at_period_end": False,
        "cancellation_details": dict.fromkeys(("comment", "feedback", "feedback_option", "reason")),
        "collection_method": "charge_automatically",
        "created": now,
        "default_tax_rates": [],
        "discounts": [],
        "invoice_settings": {
            **dict.fromkeys(("account_tax_ids", "custom_fields", "description", "footer")),
            "issuer": {"account": None, "type": "self"},
        },
        "livemode": False,
        "metadata": {},
        "payment_settings": {
            "payment_method_options": None,
            "payment_method_types": None,
            "save_default_payment_method": "off",
        },
        "start_date": now,
        "trial_settings": TRIAL_SETTINGS,
    }
    return fields
