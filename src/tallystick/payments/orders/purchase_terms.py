"""What may be bought and how a payment is shown: the seller's terms. Pure."""

import msgspec

from tallystick.base.errors import InvalidAmount
from tallystick.base.money import NANO, format_amount, to_minor
from tallystick.catalog.document import Pack


class PurchaseTerms(msgspec.Struct, frozen=True, kw_only=True):
    """Limits in whole credits; `public_url` is where the buyer comes back to."""

    public_url: str = "http://127.0.0.1:8080"
    minimum: int = 1
    maximum: int = 10_000
    currency: str = "usd"


class Purchase(msgspec.Struct, frozen=True, kw_only=True):
    """What is bought: `credits` nanocredits for `amount_minor` of `currency`."""

    amount_minor: int
    currency: str
    credits: int
    pack: str | None = None

    @property
    def title(self) -> str:
        return f"{format_amount(self.credits)} credits"


def purchase_of_amount(nano: int, terms: PurchaseTerms) -> Purchase:
    """Any amount within the terms, at one credit per unit of the currency. Raises InvalidAmount."""
    if not terms.minimum * NANO <= nano <= terms.maximum * NANO:
        raise InvalidAmount("amount", f"must be between {terms.minimum} and {terms.maximum} credits")
    return Purchase(amount_minor=to_minor(nano), currency=terms.currency, credits=nano)


def purchase_of_pack(pack: Pack) -> Purchase:
    """A pack as the catalog sells it now; the terms' limits are for free amounts."""
    return Purchase(
        amount_minor=pack.amount_minor, currency=pack.currency.lower(), credits=pack.credits, pack=pack.slug
    )
