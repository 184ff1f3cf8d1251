"""Faults on demand: what the next calls of the API suffer, so that a client's retries can be tested."""

from dataclasses import dataclass, field
from typing import Final, Literal, TypeAlias

Kind: TypeAlias = Literal[
    "error_500",  # Stripe broke before it did the work; the key remembers this answer, as Stripe's keys do
    "unavailable_503",  # never reached Stripe's endpoint; the key stays unused
    "rate_limited_429",  # the same, and politely so
    "reset_before",  # the connection is cut, nothing was done
    "reset_after",  # the work is done, then the connection is cut: the answer is lost
    "timeout",  # the work is done, then silence for `seconds`, then the connection is cut
    "slow",  # the answer takes `seconds`; its idempotency key is in use meanwhile
]

BEFORE_WORK: Final = frozenset({"error_500", "unavailable_503", "rate_limited_429", "reset_before"})


@dataclass(slots=True)
class Fault:
    kind: Kind
    times: int = 1
    method: str = ""
    path: str = "/v1/"
    seconds: float = 30.0


@dataclass(slots=True)
class Faults:
    """The faults still to come, oldest first."""

    planned: list[Fault] = field(default_factory=list)

    def take(self, method: str, path: str) -> Fault | None:
        """The fault that a call to this path suffers, counted down."""
        for fault in self.planned:
            if path.startswith(fault.path) and fault.method in {"", method}:
                fault.times -= 1
                if fault.times == 0:
                    self.planned.remove(fault)
                return fault
        return None
