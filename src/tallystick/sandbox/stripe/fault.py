"""Faults on demand: what the next calls of the API suffer, so that a client's retries can be tested."""

from dataclasses import dataclass, field
from typing import Final, Literal, TypeAlias

Kind: TypeAlias = Literal[
    "error_500",  # Stripe broke before it did the work; the key remembers this answer, as Stripe's keys do
    "bad_gateway_502",  # never reached Stripe's endpoint; the key stays unused
    "unavailable_503",  # the same
    "rate_limited_429",  # the same, and politely so
    "reset_before",  # the connection is cut, nothing was done
    "reset_after",  # the work is done, then the connection is cut: the answer is lost
    "timeout",  # the work is done, then silence for `seconds`, then the connection is cut
    "slow",  # the answer takes `seconds`; its idempotency key is in use meanwhile
]
# What fails once: each endpoint (method and path without ids), or each call (its idempotency key; without one, its
# method and path).
Scope: TypeAlias = Literal["endpoint", "call"]

BEFORE_WORK: Final = frozenset({"error_500", "bad_gateway_502", "unavailable_503", "rate_limited_429", "reset_before"})


@dataclass(slots=True)
class Fault:
    kind: Kind
    times: int = 1
    method: str = ""
    path: str = "/v1/"
    seconds: float = 30.0


@dataclass(frozen=True, slots=True)
class Target:
    """A call as faults see it. `template` is its path with {id} for ids."""

    method: str
    path: str
    template: str
    key: str | None


@dataclass(slots=True)
class Everything:
    """Everything fails once, in one kind after the other; `failed` says what has, and how."""

    scope: Scope
    kinds: list[Kind]
    method: str = ""
    path: str = "/v1/"
    seconds: float = 1.0
    failed: dict[str, Kind] = field(default_factory=dict)

    def take(self, target: Target) -> Fault | None:
        if not target.path.startswith(self.path) or self.method not in {"", target.method}:
            return None
        name = f"{target.method} {target.template if self.scope == 'endpoint' else target.path}"
        if self.scope == "call" and target.key is not None:
            name = f"{name} {target.key}"
        if name in self.failed:
            return None
        kind = self.kinds[len(self.failed) % len(self.kinds)]
        self.failed[name] = kind
        return Fault(kind, seconds=self.seconds)


@dataclass(slots=True)
class Faults:
    """The faults still to come: those planned, oldest first, and then perhaps everything once. `calls` came so far."""

    planned: list[Fault] = field(default_factory=list)
    everything: Everything | None = None
    calls: int = 0

    def take(self, target: Target) -> Fault | None:
        """The fault that a call suffers, counted down."""
        self.calls += 1
        for fault in self.planned:
            if target.path.startswith(fault.path) and fault.method in {"", target.method}:
                fault.times -= 1
                if fault.times == 0:
                    self.planned.remove(fault)
                return fault
        return None if self.everything is None else self.everything.take(target)
