"""What the customer gets: the provider's answer with its cost in it, or why there is none."""

from typing import Any

import orjson

from tallystick.base.money import format_amount
from tallystick.gateway.call import Call
from tallystick.gateway.meter import Metered
from tallystick.gateway.providers import openai_chat
from tallystick.gateway.wire import JSON, Headers
from tallystick.ledger.account import Balance
from tallystick.reservations.claim import Settled
from tallystick.reservations.usage_record import UsageRecord


def head(call: Call, provider: str, model: str) -> Headers:
    """What is known before the answer: all that the head of a stream can tell."""
    return [
        (b"x-request-id", call.name.encode()),
        (b"x-tallystick-provider", _text(provider)),
        (b"x-tallystick-model", _text(model)),
        (b"x-tallystick-attempts", b"1"),
        (b"x-tallystick-layer", call.layer.encode()),
        *call.rate_headers,
    ]


async def send(call: Call, record: UsageRecord, metered: Metered, balance: Balance | Settled | None) -> None:
    """The last of it, when the charge is in the books."""
    client, delivery = call.client, call.delivery
    if client.gone:
        return
    if client.status:
        await client.finish(_closing(call, record, metered))
    elif (refusal := delivery.refusal) is not None:
        headers = [*refusal.headers(), *_headers(call, record, balance)]
        client.answer(refusal.status, headers, refusal.body(call.name))
    elif call.request.stream:
        client.begin(head(call, record.provider, record.model))
        await client.finish(_closing(call, record, metered))
    else:
        body = dict(delivery.answer or {})
        body["usage"] = _usage(call, record, metered)
        client.answer(200, [JSON, *_headers(call, record, balance)], orjson.dumps(body))


def _headers(call: Call, record: UsageRecord, balance: Balance | Settled | None) -> Headers:
    headers = head(call, record.provider, record.model)
    headers.append((b"x-tallystick-cost", format_amount(record.charge).encode()))
    headers.append((b"x-tallystick-charge-rule", record.rule.encode()))
    if balance is not None:
        headers.append((b"x-tallystick-balance", format_amount(balance.posted).encode()))
    return headers


def _closing(call: Call, record: UsageRecord, metered: Metered) -> bytes:
    """The end of a stream: the usage with its cost where it was asked for, an error where there was one, [DONE]."""
    end = b""
    if call.request.include_usage:
        end += _event(_usage_chunk(call, record, metered))
    if call.delivery.refusal is not None:
        end += b"data: " + call.delivery.refusal.body(call.name) + b"\n\n"
    return end + openai_chat.DONE


def _usage_chunk(call: Call, record: UsageRecord, metered: Metered) -> dict[str, Any]:
    """The provider's own chunk, else one like its others."""
    told = call.delivery.answer or call.delivery.last_chunk or {}
    chunk = {"id": call.name, "object": "chat.completion.chunk", "created": int(call.at.timestamp())}
    chunk |= {"model": record.model, **told, "choices": [], "usage": _usage(call, record, metered)}
    return chunk


def _usage(call: Call, record: UsageRecord, metered: Metered) -> dict[str, Any]:
    """As the provider told it, where that is what was priced; else what was priced instead."""
    usage, told = metered.usage, (call.delivery.answer or {}).get("usage")
    if metered.source == "provider" and not metered.flags and isinstance(told, dict):
        shown = dict(told)
    else:
        shown = {
            "prompt_tokens": usage.input_tokens,
            "completion_tokens": usage.output_tokens,
            "total_tokens": usage.input_tokens + usage.output_tokens,
            "prompt_tokens_details": {"cached_tokens": usage.cached_tokens},
            "completion_tokens_details": {"reasoning_tokens": usage.reasoning_tokens},
        }
    shown["cost"] = format_amount(record.charge)
    shown["cost_details"] = {
        "request_id": call.name,
        "rule": record.rule,
        "usage_source": record.usage_source,
        "reserved": format_amount(record.reserved),
        "layer": call.layer,
    }
    if call.admitted is not None:
        shown["cost_details"]["limits"] = call.terms.limits(call.admitted.used)
    return shown


def _event(chunk: dict[str, Any]) -> bytes:
    return b"data: " + orjson.dumps(chunk) + b"\n\n"


def _text(name: str) -> bytes:
    return name.encode("ascii", "replace")
