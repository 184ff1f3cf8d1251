"""What can go wrong between us and the payment provider, each as the caller must treat it."""

from tallystick.base.errors import TallystickError, Unavailable, UpstreamFailed


class PaymentPending(Unavailable):
    """Nobody knows yet whether Stripe did what was asked: the same request, sent again, finds out and goes on."""

    code = "payment_provider_unavailable"


class PaymentRefused(UpstreamFailed):
    """Stripe answered that it will not do this; nothing was done. `reason` is its own code, where it gave one."""

    code = "payment_provider_refused"

    def __init__(self, message: str, *, reason: str | None = None) -> None:
        super().__init__(message)
        self.reason = reason


class PurchasesClosed(Unavailable):
    """No payment provider is set up, so nothing can be bought."""

    code = "purchases_closed"


class WebhookClosed(Unavailable):
    """No signing secret is set up, so no webhook can be told from a forgery."""

    code = "webhook_closed"


class BadWebhook(TallystickError):
    """The webhook is not signed by Stripe, was signed too long ago, or was changed on its way."""

    status = 400
    code = "invalid_webhook"


class UnreadableEvent(ValueError):
    """An event of Stripe's does not have the fields that its type promises."""
