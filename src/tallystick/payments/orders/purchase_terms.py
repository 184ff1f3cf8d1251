"""What may be bought and how a payment is shown: the seller's terms. Pure."""

import msgspec

from tallystick.base.errors import Conflict, InvalidAmount
from tallystick.base.money import NANO, format_amount, from_minor, to_minor
from tallystick.catalog.document import Pack
from tallystick.catalog.entries import CURRENCY


class PurchaseTerms(msgspec.Struct, frozen=True, kw_only=True):
    """Limits in whole credits; `public_url` is where the buyer comes back to. `transfer_to` tells who settles by hand
    where the money goes; None where nobody may."""

    public_url: str = "http://127.0.0.1:8080"
    minimum: int = 1
    maximum: int = 10_000
    currency: str = CURRENCY
    transfer_to: str | None = None


class SettledByHand(Conflict):
    """This package is not sold by card: it is paid on an invoice or by a transfer that a person confirms."""

    code = "settled_by_hand"


class NotOnSale(Conflict):
    """This package cannot be sold as it is written in the catalog."""

    code = "not_on_sale"


class Purchase(msgspec.Struct, frozen=True, kw_only=True):
    """What is bought: `credits` nanocredits for `amount_minor` of `currency`, from which a coupon's `discount_minor`
    was taken already."""

    amount_minor: int
    currency: str
    credits: int
    pack: str | None = None
    coupon: str | None = None
    discount_minor: int = 0
    save_card: bool = False

    @property
    def title(self) -> str:
        return f"{format_amount(self.credits)} credits"


def purchase_of_amount(nano: int, terms: PurchaseTerms) -> Purchase:
    """Any amount within the terms, at one credit per unit of the currency. Raises InvalidAmount."""
    if not terms.minimum * NANO <= nano <= terms.maximum * NANO:
        raise InvalidAmount("amount", f"must be between {terms.minimum} and {terms.maximum} credits")
    return Purchase(amount_minor=to_minor(nano), currency=terms.currency, credits=nano)


def purchase_of_pack(pack: Pack, *, by_hand: bool = False) -> Purchase:
    """A pack as the catalog sells it now; the terms' limits are for free amounts. Raises SettledByHand."""
    if pack.payment == "manual" and not by_hand:
        raise SettledByHand(
            f"{pack.name} is settled by hand: place the order with POST /api/orders, and transfer what it says."
        )
    if pack.credits < from_minor(pack.amount_minor):
        raise NotOnSale(f"{pack.name} gives fewer credits than it costs, so it is not sold. Its seller must mend that.")
    return Purchase(
        amount_minor=pack.amount_minor, currency=pack.currency.lower(), credits=pack.credits, pack=pack.slug
    )
