"""The fields of a checkout session before anything was asked of it, as the pinned API version shows them."""

from typing import Final

from tallystick.sandbox.stripe.world import Object

# Features a session can have and this one has not.
_UNUSED: Final = (
    "adaptive_pricing",
    "after_expiration",
    "allow_promotion_codes",
    "allowed_payment_method_types",
    "billing_address_collection",
    "cancel_url",
    "client_reference_id",
    "client_secret",
    "collected_information",
    "consent",
    "consent_collection",
    "currency_conversion",
    "customer",
    "customer_account",
    "customer_details",
    "customer_email",
    "excluded_payment_method_types",
    "integration_identifier",
    "invoice",
    "locale",
    "origin_context",
    "payment_intent",
    "payment_link",
    "payment_method_configuration_details",
    "permissions",
    "recovered_from",
    "saved_payment_method_options",
    "setup_intent",
    "shipping_address_collection",
    "shipping_cost",
    "submit_type",
    "subscription",
    "wallet_options",
)
_NO_INVOICE: Final = (
    "account_tax_ids",
    "custom_fields",
    "description",
    "footer",
    "issuer",
    "rendering_options",
)


def defaults(identifier: str, now: int) -> Object:
    fields: Object = dict.fromkeys(_UNUSED)
    fields |= {
        "id": identifier,
        "object": "checkout.session",
        "automatic_tax": {"enabled": False, "liability": None, "provider": None, "status": None},
        "created": now,
        "custom_fields": [],
        "custom_text": dict.fromkeys(("after_submit", "shipping_address", "submit", "terms_of_service_acceptance")),
        "discounts": [],
        "invoice_creation": {"enabled": False, "invoice_data": {**dict.fromkeys(_NO_INVOICE), "metadata": {}}},
        "livemode": False,
        "payment_method_collection": "if_required",
        "payment_method_options": {},
        "payment_status": "unpaid",
        "phone_number_collection": {"enabled": False},
        "shipping_options": [],
        "status": "open",
        "total_details": {"amount_discount": 0, "amount_shipping": 0, "amount_tax": 0},
        "ui_mode": "hosted_page",
    }
    return fields
