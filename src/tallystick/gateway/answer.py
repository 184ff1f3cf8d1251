"""What the customer gets: the provider's answer with its cost in it, or why there is none."""

from typing import Any

import orjson
from msgspec import Struct

from tallystick.base.money import format_amount
from tallystick.gateway.call import Call
from tallystick.gateway.meter import Metered
from tallystick.gateway.providers import openai_chat
from tallystick.gateway.wire import JSON, Headers
from tallystick.ledger.account import Balance
from tallystick.reservations.claim import Claim, Settled
from tallystick.reservations.usage_record import UsageRecord


class Ended(Struct, frozen=True, gc=False):
    """How a call ended: what was used of each of its claims, None where they were given back; the balance, None where
    the ledger could not be asked."""

    record: UsageRecord
    metered: Metered
    units: tuple[int, ...] | None
    balance: Balance | Settled | None

    def cost(self, call: Call) -> str | None:
        """None where it is not known yet: the ledger alone knows what lies beyond allowances, and may be away."""
        if self.balance is None and any(isinstance(claim, Claim) and claim.price for claim in call.terms.claims):
            return None
        return format_amount(self.record.charge)


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


async def send(call: Call, ended: Ended) -> None:
    """The last of it, when the charge is in the books."""
    client, delivery = call.client, call.delivery
    if client.gone:
        return
    record = ended.record
    if client.status:
        await client.finish(_closing(call, ended))
    elif (refusal := delivery.refusal) is not None:
        headers = [*refusal.headers(), *_headers(call, ended)]
        client.answer(refusal.status, headers, refusal.body(call.name))
    elif call.request.stream:
        client.begin(head(call, record.provider, record.model))
        await client.finish(_closing(call, ended))
    else:
        body = dict(delivery.answer or {})
        body["usage"] = _usage(call, ended)
        client.answer(200, [JSON, *_headers(call, ended)], orjson.dumps(body))


def _headers(call: Call, ended: Ended) -> Headers:
    record, balance = ended.record, ended.balance
    headers = head(call, record.provider, record.model)
    if (cost := ended.cost(call)) is not None:
        headers.append((b"x-tallystick-cost", cost.encode()))
    headers.append((b"x-tallystick-charge-rule", record.rule.encode()))
    if balance is not None:
        headers.append((b"x-tallystick-balance", format_amount(balance.posted).encode()))
    return headers


def _closing(call: Call, ended: Ended) -> bytes:
    """The end of a stream: the usage with its cost where it was asked for, an error where there was one, [DONE]."""
    end = b""
    if call.request.include_usage:
        end += _event(_usage_chunk(call, ended))
    if call.delivery.refusal is not None:
        end += b"data: " + call.delivery.refusal.body(call.name) + b"\n\n"
    return end + openai_chat.DONE


def _usage_chunk(call: Call, ended: Ended) -> dict[str, Any]:
    """The provider's own chunk, else one like its others."""
    told = call.delivery.answer or call.delivery.last_chunk or {}
    chunk = {"id": call.name, "object": "chat.completion.chunk", "created": int(call.at.timestamp())}
    chunk |= {"model": ended.record.model, **told, "choices": [], "usage": _usage(call, ended)}
    return chunk


def _usage(call: Call, ended: Ended) -> dict[str, Any]:
    """As the provider told it, where that is what was priced; else what was priced instead."""
    record, metered = ended.record, ended.metered
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
    if (cost := ended.cost(call)) is not None:
        shown["cost"] = cost
    shown["cost_details"] = {
        "request_id": call.name,
        "rule": record.rule,
        "usage_source": record.usage_source,
        "reserved": format_amount(record.reserved),
        "layer": call.layer,
    }
    if call.admitted is not None:
        shown["cost_details"]["limits"] = call.terms.limits(call.admitted.used, ended.units)
    return shown


def _event(chunk: dict[str, Any]) -> bytes:
    return b"data: " + orjson.dumps(chunk) + b"\n\n"


def _text(name: str) -> bytes:
    return name.encode("ascii", "replace")
