"""Fixed answers for benchmarks: made once, sent to anyone who posts anything. What is measured is the other side."""

from typing import Final

import msgspec

from tallystick.sandbox.model import chat, completion
from tallystick.sandbox.model.chat import ChatRequest, Message, StreamOptions
from tallystick.sandbox.model.http_connection import STREAM_END, STREAM_HEAD, Answer, Request, chunk, whole
from tallystick.sandbox.model.provider import Pace

_ASKED: Final = ChatRequest(
    model="canned",
    messages=[Message(role="user", content="[[tokens=16]]")],
    stream_options=StreamOptions(include_usage=True),
)
_STREAM: Final = (b'"stream":true', b'"stream": true')


class Canned:
    """The same sixteen tokens for everyone. Streams when the request says so in so many bytes."""

    def __init__(self, pace: Pace) -> None:
        said = chat.reply(_ASKED)
        used = chat.usage(_ASKED, said)
        self._count = 0
        body = completion.whole_completion("chatcmpl-0", _ASKED, said, used)
        self._whole = Answer((whole(200, body),), pace.delay_s)
        parts = [chunk(event) for event in completion.chunks("chatcmpl-0", _ASKED, said, used)]
        parts[0] = STREAM_HEAD + parts[0]
        parts[-1] += STREAM_END
        if not pace.chunk_delay_s and not pace.delay_s:
            parts = [b"".join(parts)]
        self._stream = Answer(parts, pace.delay_s, pace.chunk_delay_s)

    def answer(self, request: Request) -> Answer:
        if request.path == "/_sandbox/calls":
            return Answer((whole(200, msgspec.json.encode({"total": self._count})),))
        self._count += 1
        streams = any(wanted in request.body for wanted in _STREAM)
        return self._stream if streams else self._whole
