"""Tallystick: prepaid credits, quotas and billing on a double-entry ledger, with an OpenAI-compatible gateway.

What an application imports: the credit service and the quotas of its plans, each in its own process or over HTTP, and
the errors they raise. What is named here is loaded when it is first asked for, so that `import tallystick` costs a
command line or a worker nothing, and FastAPI is there only for those who gate with it.
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
    QuotaExceeded,
    RateLimited,
    TallystickError,
    Unauthorized,
    Unavailable,
)

if TYPE_CHECKING:
    from tallystick.library.answers import Deduction
    from tallystick.library.credit_client import AsyncCreditClient, CreditClient
    from tallystick.library.credit_service import CreditService
    from tallystick.library.require_tier import idempotency_key, require_tier
    from tallystick.library.tally import Tallystick
    from tallystick.quotas.use import QuotaCheck, TierUsage, Use

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
    "QuotaCheck",
    "QuotaExceeded",
    "RateLimited",
    "Tallystick",
    "TallystickError",
    "TierUsage",
    "Unauthorized",
    "Unavailable",
    "Use",
    "idempotency_key",
    "require_tier",
]

_LOADED_LATER: Final = {
    "AsyncCreditClient": "tallystick.library.credit_client",
    "CreditClient": "tallystick.library.credit_client",
    "CreditService": "tallystick.library.credit_service",
    "Deduction": "tallystick.library.answers",
    "QuotaCheck": "tallystick.quotas.use",
    "Tallystick": "tallystick.library.tally",
    "TierUsage": "tallystick.quotas.use",
    "Use": "tallystick.quotas.use",
    "idempotency_key": "tallystick.library.require_tier",
    "require_tier": "tallystick.library.require_tier",
}


def __getattr__(name: str) -> Any:
    if name not in _LOADED_LATER:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_LOADED_LATER[name]), name)
