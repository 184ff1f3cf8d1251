"""Tallystick: prepaid credits, quotas and billing on a double-entry ledger, with an OpenAI-compatible gateway.

What an application imports: the credit service, in its own process or over HTTP, and the errors they raise. The service
is loaded when it is first asked for, so that `import tallystick` costs a command line or a worker nothing.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any, Final

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

if TYPE_CHECKING:
    from tallystick.library.answers import Deduction
    from tallystick.library.credit_client import AsyncCreditClient, CreditClient
    from tallystick.library.credit_service import CreditService

__all__ = [
    "AsyncCreditClient",
    "Conflict",
    "CreditClient",
    "CreditService",
    "Deduction",
    "Forbidden",
    "InsufficientCreditsError",
    "InvalidAmount",
    "InvalidInput",
    "NotFound",
    "RateLimited",
    "TallystickError",
    "Unauthorized",
    "Unavailable",
]

_LOADED_LATER: Final = {
    "AsyncCreditClient": "tallystick.library.credit_client",
    "CreditClient": "tallystick.library.credit_client",
    "CreditService": "tallystick.library.credit_service",
    "Deduction": "tallystick.library.answers",
}


def __getattr__(name: str) -> Any:
    if name not in _LOADED_LATER:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_LOADED_LATER[name]), name)
