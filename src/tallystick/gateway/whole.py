"""Read a provider's answer that comes in one piece (pure)."""

import orjson

from tallystick.base.errors import UpstreamFailed
from tallystick.gateway.delivery import Delivery
from tallystick.gateway.depth import too_deep
from tallystick.gateway.providers import openai_chat
from tallystick.gateway.upstream_error import redacted


def read_whole(body: bytes, delivery: Delivery, credential: str | None) -> None:
    """Fill in the delivery. Raises UpstreamFailed for a 200 that is no chat completion, or tells of a failure."""
    try:
        answer = orjson.loads(body)
    except orjson.JSONDecodeError:
        raise UpstreamFailed("The provider's answer cannot be read.") from None
    if (said := openai_chat.error_message(answer)) is not None:
        raise UpstreamFailed(f"The provider failed: {redacted(said, credential)}")
    if too_deep(body, answer):
        raise UpstreamFailed("The provider's answer is nested too deeply to be passed on.")
    if not isinstance(answer, dict) or not isinstance(answer.get("choices"), list):
        raise UpstreamFailed("The provider's answer is not a chat completion.")
    delivery.answer = answer
    delivery.reported = openai_chat.read_usage(answer.get("usage"))
    if isinstance(name := answer.get("id"), str):
        delivery.upstream_id = name[:200]
    for choice in openai_chat.choices(answer):
        if found := openai_chat.content_bytes(choice.get("message")):
            delivery.delivered.content_bytes += found
            delivery.delivered.content_events += 1
        reason = choice.get("finish_reason")
        if reason == openai_chat.FAILED and not found:
            raise UpstreamFailed("The provider broke off its answer.")
        if reason == openai_chat.CUT_BY_LIMIT:
            delivery.cut_by_limit = True
    delivery.finished = True
