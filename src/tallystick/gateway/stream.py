"""Read a provider's stream as it passes: what goes on to the client, what is held back, what it all amounts to."""

from typing import Any, Final

import orjson

from tallystick.base.errors import UpstreamFailed
from tallystick.gateway.delivery import Delivery
from tallystick.gateway.depth import too_deep
from tallystick.gateway.events import Event, EventSplitter, EventTooLarge
from tallystick.gateway.providers import openai_chat
from tallystick.gateway.upstream_error import redacted

_DONE: Final = b"[DONE]"


class StreamReader:
    """Feed it the blocks of a stream; it gives the bytes to pass on and fills in the delivery.

    The chunk that only tells the usage is held back: it can only go to the client with the cost in it, and only to a
    client that asked for it. A usage told beside content (some providers repeat it in every chunk) is taken out, the
    last one counts.
    """

    def __init__(self, delivery: Delivery, choices: int, event_bytes_max: int, credential: str | None) -> None:
        self._delivery = delivery
        self._splitter = EventSplitter(event_bytes_max)
        self._credential = credential
        self._unfinished = set(range(choices))
        self.done = False
        self.failure: UpstreamFailed | None = None

    def feed(self, block: bytes) -> bytes:
        """The bytes to pass on. Where the stream tells of a failure or cannot be understood, `failure` says so: what
        came before it in the same block was delivered all the same."""
        try:
            events = self._splitter.feed(block)
        except EventTooLarge:
            self.failure = UpstreamFailed("The provider sent an event larger than this server takes.")
            return b""
        return self._read(events)

    def end(self) -> bytes:
        """The provider has no more to say."""
        passed = self._read(self._splitter.flush())
        if self.failure is None and self._unfinished and not self.done:
            self.failure = UpstreamFailed("The provider's stream ended in the middle of the answer.")
        self._delivery.finished = self.failure is None
        return passed

    def _read(self, events: list[Event]) -> bytes:
        passed = []
        for event in events:
            try:
                passed.append(self._passed_on(event))
            except UpstreamFailed as failure:
                self.failure = failure
                break
        return b"".join(passed)

    def _passed_on(self, event: Event) -> bytes:
        if not event.data or self.done:
            return b"" if self.done else event.raw
        if event.data == _DONE:
            self.done = True
            return b""
        chunk = self._chunk(event.data)
        choices = openai_chat.choices(chunk)
        for choice in choices:
            self._count(choice)
        usage = chunk.get("usage")
        if usage is None:
            self._delivery.last_chunk = chunk
            return event.raw
        self._note_usage(usage)
        if not choices:
            self._delivery.answer = chunk
            return b""
        self._delivery.last_chunk = chunk
        del chunk["usage"]
        return b"data: " + orjson.dumps(chunk) + b"\n\n"

    def _chunk(self, data: bytes) -> dict[str, Any]:
        try:
            chunk = orjson.loads(data)
        except orjson.JSONDecodeError:
            raise UpstreamFailed("The provider sent a chunk that cannot be read.") from None
        if (said := openai_chat.error_message(chunk)) is not None:
            raise UpstreamFailed(f"The provider failed: {redacted(said, self._credential)}")
        if not isinstance(chunk, dict) or too_deep(data, chunk):
            raise UpstreamFailed("The provider sent a chunk that cannot be read.")
        if self._delivery.upstream_id is None and isinstance(name := chunk.get("id"), str):
            self._delivery.upstream_id = name[:200]
        return chunk

    def _count(self, choice: dict[str, Any]) -> None:
        found = openai_chat.content_bytes(choice.get("delta"))
        if found:
            self._delivery.delivered.content_bytes += found
            self._delivery.delivered.content_events += 1
        if reason := choice.get("finish_reason"):
            index = choice.get("index", 0)
            self._unfinished.discard(index if isinstance(index, int) else 0)
            if reason == openai_chat.FAILED:
                raise UpstreamFailed("The provider broke off its answer.")
            if reason == openai_chat.CUT_BY_LIMIT:
                self._delivery.cut_by_limit = True

    def _note_usage(self, usage: object) -> None:
        reported, known = openai_chat.read_usage(usage), self._delivery.reported
        # A count of nothing after a real one takes nothing back: what was delivered was delivered.
        if reported is not None and (known is None or reported.output_tokens or not known.output_tokens):
            self._delivery.reported = reported
