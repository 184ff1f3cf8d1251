"""Amounts in minor units: what Stripe takes at least and at most, and how a person reads them."""

from decimal import Decimal
from typing import Final

from tallystick.sandbox.stripe.refusal import Refusal

AMOUNT_MAX: Final = 99_999_999
_ZERO_DECIMAL: Final = frozenset(
    ("bif", "clp", "djf", "gnf", "jpy", "kmf", "krw", "mga", "pyg", "rwf", "ugx", "vnd", "vuv", "xaf", "xof", "xpf")
)
_SIGNS: Final = {"usd": "$", "eur": "€", "gbp": "£", "jpy": "¥", "inr": "₹"}
_MINIMUM: Final = {"usd": 50, "eur": 50, "gbp": 30, "jpy": 50, "inr": 50, "chf": 50, "cad": 50, "aud": 50}
_MINIMUM_DEFAULT: Final = 50


def format_amount(amount: int, currency: str) -> str:
    """2500 usd -> "$25.00"; 2500 chf -> "CHF 25.00"; 2500 jpy -> "¥2,500"."""
    whole, decimals = (amount, "") if currency in _ZERO_DECIMAL else (amount // 100, f".{amount % 100:02d}")
    return f"{_SIGNS.get(currency, currency.upper() + ' ')}{whole:,}{decimals}"


def format_fine_amount(amount: Decimal, currency: str) -> str:
    """0.0002 usd -> "$0.000002": what is finer than a minor unit, in full."""
    whole = amount if currency in _ZERO_DECIMAL else amount.scaleb(-2)
    return f"{_SIGNS.get(currency, currency.upper() + ' ')}{whole.normalize():f}"


def units(whole: int, currency: str) -> int:
    """Whole units of a currency in its minor units: 15 usd -> 1500; 15 jpy -> 15."""
    return whole if currency in _ZERO_DECIMAL else whole * 100


def least_charge(currency: str) -> int:
    return _MINIMUM.get(currency, _MINIMUM_DEFAULT)


def check_amount(amount: int, currency: str, *, what: str, param: str) -> None:
    """Refuses an amount that Stripe would not charge."""
    least = least_charge(currency)
    if amount < least:
        message = f"{what} must be at least {format_amount(least, currency)} {currency}"
        raise Refusal(400, message, code="amount_too_small", param=param)
    if amount > AMOUNT_MAX:
        message = f"{what} must be no more than {format_amount(AMOUNT_MAX, currency)}"
        raise Refusal(400, message, code="amount_too_large", param=param)
