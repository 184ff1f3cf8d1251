"""Every call leaves one log line and its counts behind; never a prompt, an answer or a secret."""

import asyncio
from bisect import bisect_left
from collections import Counter as Tally
from collections.abc import Sequence
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


class _Durations(Histogram):
    def observe_all(self, seconds: Sequence[float]) -> None:
        """What `observe` does for each, at the cost of one."""
        self._sum.inc(sum(seconds))
        for place, found in Tally(bisect_left(self._upper_bounds, each) for each in seconds).items():
            self._buckets[place].inc(found)


_seconds: Final = _Durations(
    "tallystick_call_seconds", "From a call's arrival to its settlement.", ["provider"],
    buckets=(0.01, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 300, 600),
)  # fmt: skip
_HAND_ON_S: Final = 1.0
_NANO: Final = 1e-9  # for a graph, not for money


class _ProviderCounts:
    """One provider's counts since they were last handed on. Counting here costs a tenth of a counter, and a counter
    that several processes share costs more still."""

    def __init__(self, provider: str) -> None:
        self._provider = provider
        self._calls: dict[str, int] = {}
        self._sums = [0, 0, 0, 0]
        self._seconds: list[float] = []

    def add(self, record: UsageRecord) -> None:
        self._calls[record.outcome] = self._calls.get(record.outcome, 0) + 1
        sums = self._sums
        sums[0] += record.input_tokens
        sums[1] += record.output_tokens
        sums[2] += record.charge
        sums[3] += record.cost
        if not self._seconds:
            asyncio.get_running_loop().call_later(_HAND_ON_S, self.hand_on)
        self._seconds.append(record.latency_ms / 1000)

    def hand_on(self) -> None:
        input_tokens, output_tokens, charge, cost = self._sums
        _tokens.labels(self._provider, "input").inc(input_tokens)
        _tokens.labels(self._provider, "output").inc(output_tokens)
        _charged.labels(self._provider).inc(charge * _NANO)
        _cost.labels(self._provider).inc(cost * _NANO)
        for outcome, calls in self._calls.items():
            _calls.labels(self._provider, outcome).inc(calls)
        _seconds.labels(self._provider).observe_all(self._seconds)
        self._calls, self._sums, self._seconds = {}, [0, 0, 0, 0], []


@lru_cache(maxsize=1000)
def _of_provider(provider: str) -> _ProviderCounts:
    return _ProviderCounts(provider)


def settled(call: Call, record: UsageRecord) -> None:
    """A call that was sent to a provider has ended."""
    _of_provider(record.provider).add(record)
    log.info(
        "call",
        request_id=call.name,
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
