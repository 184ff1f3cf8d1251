"""One control of the sandbox: JSON in, JSON out, refused as the API refuses."""

from collections.abc import Callable
from typing import TypeVar

import msgspec
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from tallystick.sandbox.stripe.refusal import Refusal

Body = TypeVar("Body")


def control(path: str, act: Callable[[Request, bytes], object]) -> Route:
    """The route of a control. `act` gets the request and its body, and returns what is answered."""

    async def answer(request: Request) -> Response:
        body = await request.body()
        try:
            return JSONResponse(act(request, body))
        except Refusal as refused:
            return refusal(refused)

    return Route(f"/_sandbox/{path}", answer, methods=["POST"])


def read(body: bytes, kind: type[Body]) -> Body:
    try:
        return msgspec.json.decode(body or b"{}", type=kind)
    except msgspec.MsgspecError as error:
        raise Refusal(400, str(error)) from error


def refusal(refused: Refusal) -> Response:
    return JSONResponse(refused.body("req_sandbox"), refused.status)
