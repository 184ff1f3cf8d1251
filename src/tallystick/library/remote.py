"""The credits API from the other side: requests out, answers and errors in, for both clients."""

import math
from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import Any, Final, TypeVar

import httpx
import msgspec

from tallystick.base import strict_json
from tallystick.base.errors import (
    Conflict,
    Forbidden,
    InsufficientCreditsError,
    InvalidAmount,
    InvalidInput,
    NotFound,
    RateLimited,
    TallystickError,
    Unauthorized,
    Unavailable,
)
from tallystick.base.ids import new_id
from tallystick.base.money import NANO, to_decimal
from tallystick.library.answers import Amount, BatchResponse, DeductFailure, Deduction, DeductResponse
from tallystick.library.inputs import nanocredits

_Answer = TypeVar("_Answer", bound=msgspec.Struct)

SERVICE_HEADER: Final = "x-tallystick-services-token"
RETRIES: Final = 2
_JSON: Final = {"content-type": "application/json"}
_AWAY: Final = frozenset({502, 503, 504})
RETRY_AFTER_MAX_S: Final = 5.0

_BY_STATUS: Final[Mapping[int, type[TallystickError]]] = {
    401: Unauthorized,
    403: Forbidden,
    404: NotFound,
    409: Conflict,
}


class Question(msgspec.Struct, frozen=True, kw_only=True):
    """One request, the same on every attempt."""

    method: str
    url: str
    params: dict[str, str] = msgspec.field(default_factory=dict)
    headers: dict[str, str] = msgspec.field(default_factory=dict)
    content: bytes | None = None


def address(url: str) -> str:
    """Where the server is. Raises InvalidInput at once: no request to such an address would ever be answered."""
    found = url.rstrip("/")
    if not found.startswith(("http://", "https://")):
        raise InvalidInput("url", "must start with http:// or https://")
    if found.endswith(("/v1", "/api")):
        raise InvalidInput("url", "must be the server's own, without /v1 or /api")
    return found


def headers(session_token: str | None, service_token: str | None) -> dict[str, str]:
    found = {} if session_token is None else {"authorization": f"Bearer {session_token}"}
    return found if service_token is None else found | {SERVICE_HEADER: service_token}


def balance(user_id: str | None) -> Question:
    return Question(method="GET", url="/api/credits/balance", params=_given(user_id=user_id))


def history(user_id: str | None, limit: int, cursor: str | None, only: str | None) -> Question:
    params = _given(user_id=user_id, limit=str(limit), cursor=cursor, type=only)
    return Question(method="GET", url="/api/credits/history", params=params)


def purchase(
    user_id: str | None,
    amount: Amount | None,
    pack: str | None,
    idempotency_key: str | None,
    coupon: str | None = None,
    save_card: bool = False,
) -> Question:
    """Raises InvalidAmount."""
    bought = {
        "amount": None if amount is None else to_decimal(nanocredits(amount)),
        "pack": pack,
        "coupon": coupon,
        "save_card": save_card or None,
    }
    return Question(
        method="POST",
        url="/api/credits/purchase",
        params=_given(user_id=user_id),
        headers={**_JSON, "idempotency-key": idempotency_key or str(new_id())},
        content=strict_json.dumps({name: value for name, value in bought.items() if value is not None}),
    )


def redeem(user_id: str | None, code: str, idempotency_key: str | None) -> Question:
    return Question(
        method="POST",
        url="/api/credits/redeem",
        params=_given(user_id=user_id),
        headers={**_JSON, "idempotency-key": idempotency_key or str(new_id())},
        content=strict_json.dumps({"code": code}),
    )


def deduct(user_id: str, amount: Amount, request_id: str | None) -> Question:
    """Raises InvalidAmount."""
    given = {"user_id": user_id, "amount": to_decimal(nanocredits(amount)), "request_id": request_id}
    return Question(
        method="POST", url="/api/credits/deduct", headers=_JSON, content=strict_json.dumps(_deduction(given))
    )


def deduct_batch(deductions: Sequence[Deduction | Mapping[str, object]]) -> Question:
    """What is wrong with one of them is for the server to say, in its place."""
    given = [msgspec.structs.asdict(each) if isinstance(each, Deduction) else each for each in deductions]
    return Question(
        method="POST",
        url="/api/credits/deduct/batch",
        headers=_JSON,
        content=strict_json.dumps({"deductions": [_deduction(each) for each in given]}),
    )


def _given(**params: str | None) -> dict[str, str]:
    return {name: value for name, value in params.items() if value is not None}


def _deduction(given: Mapping[str, object]) -> dict[str, object]:
    amount = given.get("amount")
    if isinstance(amount, float):
        amount = Decimal(repr(amount)) if math.isfinite(amount) else str(amount)
    # With an id of its own a deduction can be sent again when its answer was lost.
    return {**given, "amount": amount, "request_id": given.get("request_id") or str(new_id())}


def judge(response: httpx.Response) -> bytes | TallystickError:
    """The body of a success, or the error."""
    return response.content if response.is_success else error(response.status_code, response.content)


def unreachable(problem: httpx.TransportError) -> TallystickError:
    return Unavailable(f"The credits API could not be reached: {problem or type(problem).__name__}.")


def pause_s(problem: TallystickError, attempt: int) -> float | None:
    """How long to wait before the same question is asked again; None when it is to be given up."""
    if not isinstance(problem, Unavailable) or attempt > RETRIES or problem.retry_after > RETRY_AFTER_MAX_S:
        return None
    return 0.2 * attempt


def answer(body: bytes, type_: type[_Answer]) -> _Answer:
    """The answer, with exact amounts."""
    return msgspec.convert(strict_json.loads(body), type_, strict=False)


def batch_answer(body: bytes) -> BatchResponse:
    given: Any = strict_json.loads(body)["results"]
    return BatchResponse(results=[_result(item) for item in given])


def error(status: int, body: bytes) -> TallystickError:
    """The error that the server raised, as the class that says how to treat it."""
    try:
        told: Any = strict_json.loads(body)["error"]
        return _error(status, told["code"], told["message"], told)
    except (InvalidInput, KeyError, TypeError):
        return Unavailable(f"The server answered {status} with something that is not from the credits API.")


def _error(status: int, code: str, message: str, told: Mapping[str, Any]) -> TallystickError:
    if code == InsufficientCreditsError.code:
        return InsufficientCreditsError(int(told["balance"] * NANO), int(told["required"] * NANO))
    found: TallystickError
    if "field" in told:
        class_ = InvalidAmount if code == InvalidAmount.code else InvalidInput
        found = class_(told["field"], message.removeprefix(told["field"]).lstrip(": "))
    elif status == RateLimited.status:
        found = RateLimited(message, int(told["retry_after"]))
    elif status in _AWAY:
        found = Unavailable(message, int(told.get("retry_after", 1)))
    else:
        found = _BY_STATUS.get(status, TallystickError)(message)
    # The server's own code says exactly what it was.
    found.details.update({name: value for name, value in told.items() if name != "message"})
    return found


def _result(item: Mapping[str, Any]) -> DeductResponse | DeductFailure:
    if "error" not in item:
        return msgspec.convert(item, DeductResponse, strict=False)
    told = item["error"]
    return DeductFailure(
        user_id=item["user_id"],
        request_id=item["request_id"],
        error=_error(item["status"], told["code"], told["message"], told),
    )
