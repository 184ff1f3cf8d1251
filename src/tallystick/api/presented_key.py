"""The API key that came with a request, where one did: `Authorization: Bearer tsk_...` or `x-api-key`."""

from typing import Final

from fastapi import Request

from tallystick.accounts import secret_token
from tallystick.base.errors import Unauthorized

_SCHEME: Final = "bearer "


def presented_key(request: Request) -> str | None:
    """The secret, looked at no further; None where there is none. Raises Unauthorized where there are several."""
    given = [value[len(_SCHEME) :].strip() for value in request.headers.getlist("authorization") if _is_key(value)]
    given += request.headers.getlist("x-api-key")
    if len(given) > 1 or ("x-api-key" in request.headers and "authorization" in request.headers):
        # A proxy and this server must not come to different conclusions about who asks.
        raise Unauthorized("No, unknown, revoked or expired API key.")
    return given[0] if given else None


def _is_key(authorization: str) -> bool:
    return authorization[: len(_SCHEME)].lower() == _SCHEME and authorization[len(_SCHEME) :].strip().startswith(
        secret_token.API_KEY
    )
