"""THE FLOW of a paid call: route, estimate, reserve, call, meter, price, settle - or release. (server.py authorises.)

It runs in a task of its own: a client that leaves ends nothing but its own answer. From the line in the journal on,
the hold ends exactly once: here, by the replay of the journal, or by the recovery after this process's death.
"""

import asyncio
from typing import Final

import structlog
from msgspec.structs import replace

from tallystick.base.errors import Unavailable, UpstreamFailed, UpstreamTimeout
from tallystick.catalog.book import Candidate
from tallystick.constraints.constraints import Constraints
from tallystick.gateway import answer, meter
from tallystick.gateway.call import Call
from tallystick.gateway.deadline import Deadline
from tallystick.gateway.estimate import Estimate, bounds, estimate
from tallystick.gateway.parts import Parts
from tallystick.gateway.providers import openai_chat
from tallystick.gateway.record import dispatched, usage_record
from tallystick.gateway.reserve import reserve
from tallystick.gateway.stream import StreamReader
from tallystick.gateway.upstream import Reply
from tallystick.gateway.upstream_error import failed, refusal_of_answer
from tallystick.gateway.whole import read_whole
from tallystick.gateway.wire import Refusal
from tallystick.reservations.claim import Settled
from tallystick.reservations.usage_record import UsageRecord

log = structlog.get_logger()
_OUR_FAULT: Final = Refusal(status=500, code="internal_error", message="This server failed. Nothing was charged.")
_STOPPED: Final = Refusal(status=503, code="unavailable", message="This server is going down.", retry_after=1)


async def metered_call(parts: Parts, call: Call) -> UsageRecord:
    """Raises what refuses the call before anything has left: an unknown or unpriced model, too few credits, a
    database or a journal that cannot take it. After that, whatever happens is an outcome, and has its charge."""
    constraints = await _constraints(parts, call)
    candidate = parts.book().candidates(call.request.model, call.at)[0]
    default = call.caller.default_max_tokens or constraints.default_max_tokens
    most = estimate(call.request, candidate, default, parts.limits)
    most = await reserve(parts, call, constraints, candidate, most)
    _write_down(parts, call, candidate, most)
    reply = await _call(parts, call, candidate, most)
    metered = _meter(parts, call, candidate, most)
    outcome = call.delivery.outcome(client_gone=call.client.gone)
    record, units = usage_record(call, candidate, most, metered, outcome, parts.policy, _status(call))
    balance = await parts.settlements.settle(record, units)
    if isinstance(balance, Settled):
        record = replace(record, charge=balance.charge)
    await answer.send(call, answer.Ended(record, metered, units, balance))
    if reply is not None:
        await reply.finish()
    return record


async def _constraints(parts: Parts, call: Call) -> Constraints:
    organization = call.caller.organization
    return parts.constraints.cached(organization) or await parts.constraints.find(organization)


def _write_down(parts: Parts, call: Call, candidate: Candidate, most: Estimate) -> None:
    """On this disk before it leaves: what the call is settled as if this process dies."""
    try:
        parts.journal.dispatched(dispatched(call, candidate, most))
    except Unavailable:
        parts.settlements.release_later(call.id, call.caller.account)
        raise


async def _call(parts: Parts, call: Call, candidate: Candidate, most: Estimate) -> Reply | None:
    """Everything between the hold and its end. Whatever goes wrong is told by the delivery, never raised."""
    delivery, client, reply = call.delivery, call.client, None
    try:
        with Deadline().within(parts.upstream.total_s) as call.deadline:
            body = openai_chat.request_body(call.request, candidate.model, most.output_limit, candidate.limit_parameter)
            reply = await parts.upstream.post(candidate.base_url, openai_chat.PATH, body, candidate.credential)
            delivery.first_byte_ms = call.elapsed_ms()
            await _read(parts, call, candidate, most, reply)
    except UpstreamFailed as failure:
        delivery.refusal = failed(failure, candidate.provider)
    except TimeoutError:
        if delivery.stopped:
            delivery.refusal = _STOPPED
        elif not (client.gone and call.request.stream):
            delivery.refusal = failed(UpstreamTimeout("The provider took too long."), candidate.provider)
        # Else it was the end of the drain for a client that left, which is how such a call may end.
    except Exception:
        # A fault of ours, whatever it is, must not leave a hold open nor charge anybody.
        log.exception("call_failed_here", request_id=call.name)
        delivery.our_fault, delivery.refusal = True, _OUR_FAULT
    finally:
        call.deadline = None
        client.on_leave(None)
    if reply is not None and (delivery.refusal is not None or not delivery.finished):
        reply.close()
        return None
    return reply


async def _read(parts: Parts, call: Call, candidate: Candidate, most: Estimate, reply: Reply) -> None:
    delivery, limits = call.delivery, parts.limits
    if reply.status != 200:
        body = await reply.whole(limits.answer_bytes_max)
        delivery.refusal, delivery.refused = refusal_of_answer(
            reply.status,
            body,
            reply.header("retry-after"),
            provider=candidate.provider,
            credential=candidate.credential,
        )
    elif not call.request.stream:
        read_whole(await reply.whole(limits.answer_bytes_max), delivery, candidate.credential)
    elif reply.content_type != "text/event-stream":
        raise UpstreamFailed("The provider answered a call for a stream with something else.")
    else:
        await _relay(parts, call, candidate, most, reply)


async def _relay(parts: Parts, call: Call, candidate: Candidate, most: Estimate, reply: Reply) -> None:
    """Pass the stream on as it comes. When the client has left, only the usage at its end is still wanted."""
    client, limits, delivery = call.client, parts.limits, call.delivery
    reader = StreamReader(delivery, call.request.choices, limits.event_bytes_max, candidate.credential)
    client.on_leave(lambda: call.cut_in(limits.drain_s))
    if client.gone:
        call.cut_in(limits.drain_s)
    clock = asyncio.get_running_loop().time
    noted_at, noted_bytes, drained = clock(), 0, 0
    while not reader.done and reader.failure is None:
        block = await reply.block()
        passed = reader.feed(block) if block else reader.end()
        if passed and not client.gone:
            if not client.status:
                client.begin(answer.head(call, candidate.provider, candidate.model))
            await client.write(passed)
        if not block:
            break
        if client.gone and (drained := drained + len(block)) > limits.drain_bytes_max:
            return
        content = delivery.delivered.content_bytes
        if content - noted_bytes > limits.progress_bytes or clock() - noted_at > limits.progress_s:
            noted_at, noted_bytes = clock(), content
            _note_progress(parts, call, candidate, most)
    reader.end()
    if reader.failure is not None:
        raise reader.failure


def _note_progress(parts: Parts, call: Call, candidate: Candidate, most: Estimate) -> None:
    so_far = meter.estimated(call.delivery.delivered, bounds(call.request, candidate, most, parts.limits))
    try:
        parts.journal.progress(call.id, so_far.usage)
    except Unavailable as error:
        # The call goes on: after a crash it would be settled at an earlier note of it.
        log.warning("progress_not_noted", request_id=call.name, error=error.message)


def _meter(parts: Parts, call: Call, candidate: Candidate, most: Estimate) -> meter.Metered:
    delivery = call.delivery
    if delivery.reported is None and (delivery.refusal is not None and not delivery.delivered.content_events):
        return meter.NOTHING
    return meter.meter(delivery.reported, delivery.delivered, bounds(call.request, candidate, most, parts.limits))


def _status(call: Call) -> int:
    """What the client was told, or is about to be."""
    if call.client.status or call.client.gone:
        return call.client.status
    return 200 if call.delivery.refusal is None else call.delivery.refusal.status
