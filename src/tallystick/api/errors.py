"""Every refusal of the API in one shape: {"error": {"code", "message", ...details}} with its status."""

from http import HTTPStatus
from typing import Any, Final

import asyncpg
import structlog
from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.responses import Response

from tallystick.api.exact_json import ExactJSON
from tallystick.base.errors import InvalidInput, RateLimited, TallystickError, Unavailable

_log = structlog.get_logger()

# What says that the database cannot be reached or cannot serve now, not that we asked it something wrong.
_DATABASE_AWAY: Final = (
    ConnectionError,
    asyncpg.PostgresConnectionError,
    asyncpg.OperatorInterventionError,
    asyncpg.InsufficientResourcesError,
    asyncpg.ReadOnlySQLTransactionError,
    asyncpg.InterfaceError,
    asyncpg.InternalClientError,
)


def answer_errors(app: FastAPI) -> None:
    """Make `app` answer all its errors in the one shape."""
    app.add_exception_handler(TallystickError, _refused)
    app.add_exception_handler(RequestValidationError, _invalid)
    app.add_exception_handler(HTTPException, _http)
    for error in _DATABASE_AWAY:
        app.add_exception_handler(error, _away)


def error_body(error: TallystickError) -> dict[str, object]:
    """What a caller is told: the code to act on, a sentence to read, and the error's own details."""
    return {"code": error.code, "message": error.message, **error.details}


async def _refused(_request: Request, error: Exception) -> Response:
    assert isinstance(error, TallystickError)  # noqa: S101 - registered for this class only
    headers = {}
    if isinstance(error, RateLimited | Unavailable):
        headers["retry-after"] = str(error.retry_after)
    if error.status >= HTTPStatus.INTERNAL_SERVER_ERROR:
        _log.error("request_failed", code=error.code, message=error.message)
    return ExactJSON({"error": error_body(error)}, status_code=error.status, headers=headers)


async def _away(request: Request, error: Exception) -> Response:
    _log.error("database_away", error=repr(error))
    return await _refused(request, Unavailable("The database does not answer. Send the same request again."))


async def _invalid(_request: Request, error: Exception) -> Response:
    assert isinstance(error, RequestValidationError)  # noqa: S101 - registered for this class only
    first: dict[str, Any] = error.errors()[0]
    where = [str(part) for part in first["loc"][1:]]
    field = ".".join(where) if where and first["type"] != "json_invalid" else "body"
    field = field if field.isprintable() else "body"  # half a surrogate pair could not be written back
    message = f"{field}: {first['msg']}"
    return ExactJSON({"error": {"code": "invalid_request", "message": message, "field": field}}, status_code=422)


async def _http(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)  # noqa: S101 - registered for this class only
    status = HTTPStatus(error.status_code)
    if status == HTTPStatus.BAD_REQUEST:
        # The one of FastAPI's own: bytes that are no text. Other bodies that are no JSON are a 422, too.
        return await _refused(request, InvalidInput("body", "must be a JSON object in UTF-8"))
    told = {
        HTTPStatus.NOT_FOUND: "There is nothing at this address. /api/docs lists what there is.",
        HTTPStatus.METHOD_NOT_ALLOWED: f"This address does not take {request.method}. /api/docs lists what it takes.",
    }
    body = {"code": status.name.lower(), "message": told.get(status, f"{status.phrase}.")}
    return ExactJSON({"error": body}, status_code=status, headers=error.headers)
