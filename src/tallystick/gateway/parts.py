"""What a paid call works with, wired together once per process."""

from collections.abc import Callable
from dataclasses import dataclass

from tallystick.catalog.book import Book
from tallystick.gateway.journal import Journal
from tallystick.gateway.limits import Limits
from tallystick.gateway.outcome import Policy
from tallystick.gateway.rates import Rates
from tallystick.gateway.settle import Settlements
from tallystick.gateway.upstream import Upstream
from tallystick.quotas.exceeded import Exceeded
from tallystick.reservations.lanes import Lanes
from tallystick.subscriptions.live import LiveConstraints


@dataclass(frozen=True, slots=True)
class Parts:
    # The catalog as it is at this moment.
    book: Callable[[], Book]
    # What each customer may do: compiled elsewhere, enforced here.
    constraints: LiveConstraints
    rates: Rates
    lanes: Lanes
    upstream: Upstream
    journal: Journal
    settlements: Settlements
    limits: Limits
    policy: Policy
    # Who is told that a limit is used up.
    exceeded: Exceeded
