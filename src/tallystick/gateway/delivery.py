"""What came of one call to a provider: filled in while it runs, judged when it is over (pure)."""

from typing import Any

from msgspec import Struct, field

from tallystick.gateway.meter import Delivered, Reported
from tallystick.gateway.outcome import Outcome
from tallystick.gateway.wire import Refusal


class Delivery(Struct, kw_only=True):
    delivered: Delivered = field(default_factory=Delivered)
    reported: Reported | None = None
    # A whole answer, or of a stream the last chunk that was held back: the one that tells the usage.
    answer: dict[str, Any] | None = None
    # Of a stream, the last chunk that was passed on.
    last_chunk: dict[str, Any] | None = None
    upstream_id: str | None = None
    # Why there is no answer, or no more of it; what the client is told.
    refusal: Refusal | None = None
    # The refusal is the provider's judgement of the request, not a failure.
    refused: bool = False
    # The provider said that the answer is whole, by a finish reason or by ending the stream properly.
    finished: bool = False
    # The customer's own limit cut the answer short: nothing visible may be all that was paid for.
    cut_by_limit: bool = False
    our_fault: bool = False
    stopped: bool = False
    first_byte_ms: int | None = None

    def outcome(self, *, client_gone: bool) -> Outcome:
        """Failures first: a client that left does not make a provider's failure its own."""
        content = self.delivered.content_events > 0
        if self.our_fault:
            return Outcome.OUR_FAULT
        if self.refused:
            return Outcome.REFUSED
        if self.stopped:
            return Outcome.STOPPED if content else Outcome.OUR_FAULT
        if self.refusal is not None:
            return Outcome.TRUNCATED if content else Outcome.UPSTREAM_ERROR
        if self.finished and not content and not self.cut_by_limit:
            return Outcome.EMPTY
        return Outcome.CLIENT_GONE if client_gone else Outcome.COMPLETED
