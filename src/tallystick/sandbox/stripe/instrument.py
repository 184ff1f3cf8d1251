"""What a customer pays with in a sandbox: Stripe's published test numbers and what each of them does."""

from dataclasses import dataclass
from typing import Final, Literal, TypeAlias

RefundStatus: TypeAlias = Literal["succeeded", "pending", "requires_action"]
DisputeKind: TypeAlias = Literal["fraudulent", "product_not_received", "inquiry"]
RefundEnd: TypeAlias = Literal["succeeded", "failed"]


@dataclass(frozen=True, slots=True)
class Decline:
    """Why the bank said no, in the words Stripe's errors use."""

    code: str
    decline_code: str | None
    message: str


@dataclass(frozen=True, slots=True)
class Instrument:
    """A test card or bank account.

    `names` are the ids the API takes for it without its being created first. `authenticates` is when its bank wants
    to see the customer: never, on every payment, or until the card was saved by a payment with the customer there.
    `saves` says whether it can be attached to a customer. `refund` is how a refund to it
    begins and how it ends later. `available_at_once` skips the days that money waits. `dispute` is what its owner
    says of every payment as soon as it was made.
    """

    number: str
    kind: Literal["card", "us_bank_account"]
    brand: str
    label: str
    names: tuple[str, ...] = ()
    decline: Decline | None = None
    authenticates: Literal["never", "always", "until_saved"] = "never"
    saves: bool = True
    refund: tuple[RefundStatus, RefundEnd | None] = ("succeeded", None)
    available_at_once: bool = False
    dispute: DisputeKind | None = None

    @property
    def last4(self) -> str:
        return self.number[-4:]

    @property
    def fingerprint(self) -> str:
        """Stripe gives one number one fingerprint; here it also leads back to the number's behaviour."""
        return f"sandbox{self.number[-9:]}"


def _declines(code: str, decline_code: str | None, message: str) -> Decline:
    return Decline(code=code, decline_code=decline_code, message=message)


REFUSED: Final = _declines("card_declined", "generic_decline", "Your card was declined.")
NO_FUNDS: Final = _declines("card_declined", "insufficient_funds", "Your card has insufficient funds.")
EXPIRED: Final = _declines("expired_card", "expired_card", "Your card has expired.")
WRONG_CVC: Final = _declines("incorrect_cvc", "incorrect_cvc", "Your card's security code is incorrect.")
NOT_AUTHENTICATED: Final = _declines(
    "authentication_required",
    "authentication_required",
    "Your card was declined. This transaction requires authentication.",
)
FAILED_AUTHENTICATION: Final = _declines(
    "payment_intent_authentication_failure",
    None,
    "We are unable to authenticate your payment method. Please choose a different payment method and try again.",
)
ACCOUNT_CLOSED: Final = _declines("account_closed", None, "The customer's bank account has been closed.")
ACCOUNT_EMPTY: Final = _declines("insufficient_funds", None, "The customer's account has insufficient funds.")
# What a card that has paid before can be told to answer from now on.
DECLINES: Final = {
    "generic_decline": REFUSED,
    "insufficient_funds": NO_FUNDS,
    "expired_card": EXPIRED,
    "authentication_required": NOT_AUTHENTICATED,
}

CARDS: Final = (
    Instrument("4242424242424242", "card", "visa", "Succeeds", names=("pm_card_visa",)),
    Instrument("5555555555554444", "card", "mastercard", "Succeeds", names=("pm_card_mastercard",)),
    Instrument(
        "4000000000000002",
        "card",
        "visa",
        "Declined",
        names=("pm_card_chargeDeclined", "pm_card_visa_chargeDeclined"),
        decline=REFUSED,
        saves=False,
    ),
    Instrument(
        "4000000000009995",
        "card",
        "visa",
        "Insufficient funds",
        names=("pm_card_chargeDeclinedInsufficientFunds", "pm_card_visa_chargeDeclinedInsufficientFunds"),
        decline=NO_FUNDS,
        saves=False,
    ),
    Instrument(
        "4000000000000069",
        "card",
        "visa",
        "Expired",
        names=("pm_card_chargeDeclinedExpiredCard", "pm_card_visa_chargeDeclinedExpiredCard"),
        decline=EXPIRED,
        saves=False,
    ),
    Instrument(
        "4000000000000127",
        "card",
        "visa",
        "Wrong CVC",
        names=("pm_card_chargeDeclinedIncorrectCvc", "pm_card_visa_chargeDeclinedIncorrectCvc"),
        decline=WRONG_CVC,
        saves=False,
    ),
    Instrument(
        "4000000000000341",
        "card",
        "visa",
        "Fails when charged",
        names=("pm_card_chargeCustomerFail",),
        decline=REFUSED,
    ),
    Instrument(
        "4000002500003155",
        "card",
        "visa",
        "Asks for authentication",
        names=("pm_card_authenticationRequiredOnSetup",),
        authenticates="until_saved",
    ),
    Instrument(
        "4000002760003184",
        "card",
        "visa",
        "Always asks for authentication",
        names=("pm_card_authenticationRequired",),
        authenticates="always",
    ),
    Instrument(
        "4000000000007726",
        "card",
        "visa",
        "Its refunds succeed later",
        names=("pm_card_pendingRefund",),
        refund=("pending", "succeeded"),
    ),
    Instrument(
        "4000000000005126",
        "card",
        "visa",
        "Its refunds fail later",
        names=("pm_card_refundFail",),
        refund=("succeeded", "failed"),
    ),
    Instrument(
        "4000000000000077",
        "card",
        "visa",
        "Its money is available at once",
        names=("pm_card_bypassPending",),
        available_at_once=True,
    ),
    Instrument(
        "4000000000000259",
        "card",
        "visa",
        "Disputed as fraudulent",
        names=("pm_card_createDispute",),
        dispute="fraudulent",
    ),
    Instrument(
        "4000000000002685",
        "card",
        "visa",
        "Disputed as not received",
        names=("pm_card_createDisputeProductNotReceived",),
        dispute="product_not_received",
    ),
    Instrument(
        "4000000000001976",
        "card",
        "visa",
        "Its bank inquires",
        names=("pm_card_createDisputeInquiry",),
        dispute="inquiry",
    ),
)
BANK_ACCOUNTS: Final = (
    Instrument("000123456789", "us_bank_account", "STRIPE TEST BANK", "Pays after a while"),
    Instrument("000111111116", "us_bank_account", "STRIPE TEST BANK", "Account closed", decline=ACCOUNT_CLOSED),
    Instrument("000222222227", "us_bank_account", "STRIPE TEST BANK", "Insufficient funds", decline=ACCOUNT_EMPTY),
)

_BY_NUMBER: Final = {instrument.number: instrument for instrument in CARDS + BANK_ACCOUNTS}
_BY_NAME: Final = {name: instrument for instrument in CARDS for name in instrument.names}
_BY_FINGERPRINT: Final = {instrument.fingerprint: instrument for instrument in CARDS + BANK_ACCOUNTS}


def by_number(typed: str) -> Instrument | None:
    """The instrument of a number as a person types it, with blanks or dashes."""
    return _BY_NUMBER.get(typed.replace(" ", "").replace("-", ""))


def by_name(name: str) -> Instrument | None:
    """The instrument of a test id such as `pm_card_visa`."""
    return _BY_NAME.get(name)


def by_fingerprint(fingerprint: str) -> Instrument:
    return _BY_FINGERPRINT[fingerprint]
