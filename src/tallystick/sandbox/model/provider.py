"""The provider: paths to answers, with the pace that was asked for on the command line."""

from collections.abc import Sequence
from dataclasses import dataclass
from urllib.parse import parse_qs, urlsplit

import msgspec

from tallystick.sandbox.model import chat, completion
from tallystick.sandbox.model.calls import Calls
from tallystick.sandbox.model.chat import ChatRequest, Malformed
from tallystick.sandbox.model.http_connection import STREAM_END, STREAM_HEAD, Answer, Request, chunk, whole

_decode = msgspec.json.Decoder(ChatRequest).decode


@dataclass(frozen=True, slots=True)
class Pace:
    """Seconds before the first byte, and between the chunks of a stream."""

    delay_s: float = 0.0
    chunk_delay_s: float = 0.0


class Provider:
    """Answers any model name that is not on a list of `models`, if there is one: an unlisted one is a 404."""

    def __init__(self, pace: Pace, models: Sequence[str] = ()) -> None:
        self._pace = pace
        self._only = frozenset(models)
        self._listed = tuple(models) or ("echo-1", "echo-1-cached", "echo-1-reasoning")
        self._calls = Calls()

    def answer(self, request: Request) -> Answer:
        path = request.path.partition("?")[0]
        if path == "/_sandbox/calls":
            return self._counts(request)
        scheme, _, key = request.headers.get("authorization", "").partition(" ")
        if scheme.lower() != "bearer" or not key.strip():
            return _error(401, "You didn't provide an API key.", kind="invalid_request_error", code="invalid_api_key")
        if path == "/v1/chat/completions" and request.method == "POST":
            return self._try_to_complete(request)
        if path == "/v1/models" and request.method == "GET":
            return self._models()
        return _error(404, f"Invalid URL ({request.method} {path})")

    def _try_to_complete(self, request: Request) -> Answer:
        try:
            return self._complete(request)
        except Malformed as malformed:
            return _error(400, str(malformed), param=malformed.param)
        except msgspec.MsgspecError as error:
            return _error(400, f"We could not parse the JSON body of your request: {error}")

    def _complete(self, request: Request) -> Answer:
        asked = _decode(request.body)
        chat.check(asked)
        if self._only and asked.model not in self._only:
            message = f"The model `{asked.model}` does not exist or you do not have access to it."
            return _error(404, message, code="model_not_found")
        said = chat.reply(asked)
        used = chat.usage(asked, said)
        ended = self._calls.begin(asked.model, used.prompt_tokens, used.completion_tokens, request.headers)
        identifier = f"chatcmpl-{self._calls.total}"
        if not asked.stream:
            body = completion.whole_completion(identifier, asked, said, used)
            return Answer((whole(200, body),), self._pace.delay_s, ended=ended)
        parts = [chunk(event) for event in completion.chunks(identifier, asked, said, used)]
        parts[0] = STREAM_HEAD + parts[0]
        parts[-1] += STREAM_END
        return Answer(parts, self._pace.delay_s, self._pace.chunk_delay_s, ended)

    def _models(self) -> Answer:
        listed = [{"id": name, "object": "model", "created": 0, "owned_by": "sandbox"} for name in self._listed]
        return Answer((whole(200, msgspec.json.encode({"object": "list", "data": listed})),))

    def _counts(self, request: Request) -> Answer:
        """`GET /_sandbox/calls?header=x-request-id` shows the counts, DELETE starts them anew."""
        if request.method == "DELETE":
            self._calls = Calls()
        header = parse_qs(urlsplit(request.path).query).get("header", [None])[0]
        return Answer((whole(200, msgspec.json.encode(self._calls.shown(header))),))


def _error(
    status: int, message: str, *, kind: str = "invalid_request_error", param: str | None = None, code: str | None = None
) -> Answer:
    error = {"message": message, "type": kind, "param": param, "code": code}
    return Answer((whole(status, msgspec.json.encode({"error": error})),))
