"""What Stripe answers when it says no: one exception, and the JSON shape its SDKs read."""

from collections.abc import Mapping


class Refusal(Exception):
    """An error answer of the API: status, type, message and whatever else Stripe puts beside them.

    `kept` says whether an idempotency key remembers it. Stripe remembers an answer once the endpoint has begun to
    work; parameters it could not even read leave the key unused.
    """

    def __init__(
        self,
        status: int,
        message: str,
        *,
        kind: str = "invalid_request_error",
        code: str | None = None,
        param: str | None = None,
        kept: bool = True,
        more: Mapping[str, object] | None = None,
    ) -> None:
        super().__init__(message)
        self.status = status
        self.kept = kept
        error: dict[str, object] = {"message": message, "type": kind, **(more or {})}
        if code is not None:
            error["code"] = code
            error["doc_url"] = f"https://docs.stripe.com/error-codes/{code.replace('_', '-')}"
        if param is not None:
            error["param"] = param
        self.error = error

    def body(self, request_id: str) -> dict[str, object]:
        log_url = f"https://dashboard.stripe.com/test/logs/{request_id}"
        return {"error": {**self.error, "request_log_url": log_url}}


def invalid_parameter(param: str, message: str, code: str | None = None) -> Refusal:
    """A parameter that could not be read: the call never began, so its idempotency key stays unused."""
    return Refusal(400, message, code=code, param=param, kept=False)


def missing(kind: str, identifier: str, *, param: str = "id") -> Refusal:
    """Nothing has this id: 404 when the id stood in the path, 400 when a parameter named it."""
    status = 404 if param == "id" else 400
    return Refusal(status, f"No such {kind}: '{identifier}'", code="resource_missing", param=param)
