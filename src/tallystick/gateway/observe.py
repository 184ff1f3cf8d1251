"""Every call leaves one log line and its counts behind; never a prompt, an answer or a secret."""

from functools import lru_cache
from typing import Final
from uuid import UUID

import structlog
from prometheus_client import Counter, Histogram

from tallystick.gateway.call import Call
from tallystick.gateway.wire import Refusal
from tallystick.reservations.usage_record import UsageRecord

log = structlog.get_logger()

_calls: Final = Counter(
    "tallystick_calls", "Calls that reached a provider, by how they ended.", ["provider", "outcome"]
)
_refusals: Final = Counter("tallystick_calls_refused", "Calls that nothing was sent for, by why.", ["code"])
_tokens: Final = Counter("tallystick_tokens", "Tokens of settled calls.", ["provider", "kind"])
_charged: Final = Counter("tallystick_charged_credits", "Credits charged for calls.", ["provider"])
_cost: Final = Counter("tallystick_cost_credits", "Credits the providers charge for calls.", ["provider"])
_seconds: Final = Histogram(
    "tallystick_call_seconds", "From a call's arrival to its settlement.", ["provider"],
    buckets=(0.01, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 300, 600),
)  # fmt: skip
_NANO: Final = 1e-9  # for a graph, not for money


class _ProviderCounts:
    """The counters of one provider, found once: finding them by label costs more than counting."""

    def __init__(self, provider: str) -> None:
        self.input = _tokens.labels(provider, "input")
        self.output = _tokens.labels(provider, "output")
        self.charged = _charged.labels(provider)
        self.cost = _cost.labels(provider)
        self.seconds = _seconds.labels(provider)


_of_provider = lru_cache(maxsize=1000)(_ProviderCounts)


@lru_cache(maxsize=10_000)
def _ended(provider: str, outcome: str) -> Counter:
    return _calls.labels(provider, outcome)


def settled(call: Call, record: UsageRecord) -> None:
    """A call that was sent to a provider has ended."""
    counts = _of_provider(record.provider)
    counts.input.inc(record.input_tokens)
    counts.output.inc(record.output_tokens)
    counts.charged.inc(record.charge * _NANO)
    counts.cost.inc(record.cost * _NANO)
    counts.seconds.observe(record.latency_ms / 1000)
    _ended(record.provider, record.outcome).inc()
    log.info(
        "call",
        request_id=str(record.id),
        organization=call.caller.organization,
        api_key=record.api_key,
        alias=record.alias,
        provider=record.provider,
        model=record.model,
        stream=record.stream,
        input_tokens=record.input_tokens,
        output_tokens=record.output_tokens,
        charge_nano=record.charge,
        rule=record.rule,
        status=record.status,
        latency_ms=record.latency_ms,
        problem=None if call.delivery.refusal is None else call.delivery.refusal.code,
    )


def refused(request_id: UUID, refusal: Refusal, api_key: str | None) -> None:
    """A call that nothing was sent for."""
    _refusals.labels(refusal.code).inc()
    log.info("call_refused", request_id=str(request_id), api_key=api_key, status=refusal.status, code=refusal.code)
