"""One paid call while it runs: who asks what, and how it can be cut short."""

import time
from dataclasses import dataclass, field
from datetime import datetime
from uuid import UUID

from tallystick.accounts.authenticate import Caller
from tallystick.gateway.chat_request import ChatRequest
from tallystick.gateway.client import Client
from tallystick.gateway.deadline import Deadline
from tallystick.gateway.delivery import Delivery
from tallystick.gateway.terms import Terms
from tallystick.gateway.wire import Headers
from tallystick.reservations.claim import Admitted


@dataclass(slots=True)
class Call:
    # The request id: also the hold's, the usage record's and the receipt's.
    id: UUID
    caller: Caller
    request: ChatRequest
    client: Client
    at: datetime
    started: float
    delivery: Delivery = field(default_factory=Delivery)
    # What its hold claims beside credits, and who was found to pay; until then the terms of one without a plan.
    terms: Terms = field(default_factory=Terms)
    admitted: Admitted | None = None
    rate_headers: Headers = field(default_factory=list)
    # While the provider is called.
    deadline: Deadline | None = None

    name: str = field(init=False)

    def __post_init__(self) -> None:
        self.name = str(self.id)

    @property
    def layer(self) -> str:
        """Who was found to pay; "credits" where no plan has a say, whichever of them."""
        if self.admitted is not None:
            return self.admitted.layer
        return "credits" if self.terms.charges_models else "included"

    def elapsed_ms(self) -> int:
        return int((time.monotonic() - self.started) * 1000)

    def cut_in(self, seconds: float) -> None:
        """Give the provider this much more time; nothing where it has already answered."""
        if self.deadline is not None:
            self.deadline.within(seconds)

    def stop(self) -> None:
        """End it now with what was delivered: this server is going down."""
        if self.deadline is not None:
            self.delivery.stopped = True
            self.cut_in(0)
