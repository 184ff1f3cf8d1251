"""Idempotency keys: the same key and parameters replay the stored answer, whatever it was, for 24 hours."""

import hashlib
from dataclasses import dataclass
from typing import Final

from tallystick.sandbox.stripe.refusal import Refusal

KEPT_S: Final = 24 * 3600
_KEY_LENGTH_MAX: Final = 255
_KIND: Final = "idempotency_error"


@dataclass(frozen=True, slots=True)
class Answer:
    """A finished answer, ready to be sent once more."""

    status: int
    body: str
    request_id: str


@dataclass(slots=True)
class Use:
    """The first use of a key. `answer` is None while that request is still running."""

    path: str
    fingerprint: str
    at: int
    answer: Answer | None = None


class Keys:
    """The idempotency keys of one account."""

    def __init__(self, uses: dict[str, Use] | None = None) -> None:
        self.uses = uses or {}

    def begin(self, key: str, method: str, path: str, form: str, now: int) -> Answer | None:
        """Claims a key for a request; the stored answer when the key was used for the very same one before.

        Raises Refusal when it was used for something else, or is in use by a request that still runs."""
        if len(key) > _KEY_LENGTH_MAX:
            message = f"Idempotency keys can have at most {_KEY_LENGTH_MAX} characters."
            raise Refusal(400, message, kind=_KIND, kept=False)
        fingerprint = hashlib.sha256(f"{method} {path}\n{form}".encode()).hexdigest()
        use = self.uses.get(key)
        if use is None or use.at + KEPT_S <= now:
            self.uses[key] = Use(path, fingerprint, now)
            return None
        hint = f"Try using a key other than '{key}' if you meant to execute a different request."
        if use.path != path:
            message = (
                "Keys for idempotent requests can only be used for the same endpoint they were first used for "
                f"('{path}' vs '{use.path}'). {hint}"
            )
            raise Refusal(400, message, kind=_KIND, kept=False)
        if use.fingerprint != fingerprint:
            message = (
                "Keys for idempotent requests can only be used with the same parameters they were first used with. "
                f"{hint}"
            )
            raise Refusal(400, message, kind=_KIND, kept=False)
        if use.answer is None:
            message = (
                "There is currently another in-progress request using this Idempotent Key (that probably means you "
                f"submitted twice, and the other request is still going through): {key}. Please try again later."
            )
            raise Refusal(409, message, kind=_KIND, code="idempotency_key_in_use", kept=False)
        return use.answer

    def finish(self, key: str, answer: Answer) -> None:
        self.uses[key].answer = answer

    def abandon(self, key: str) -> None:
        """Frees a key whose request never began to work."""
        self.uses.pop(key, None)
