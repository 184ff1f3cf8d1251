"""Everything the sandbox remembers: the objects the API shows, what Stripe keeps to itself, and its clock."""

import copy
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Final, TypeAlias

from tallystick.sandbox.stripe.identifier import Identifiers
from tallystick.sandbox.stripe.refusal import missing

Object: TypeAlias = dict[str, Any]

# The version the official SDK 16.1 speaks; objects here have its fields. A test compares the two.
API_VERSION: Final = "2026-10-28.endive"


@dataclass(frozen=True, slots=True)
class Origin:
    """The API request that caused an event; both are None for what a customer did on the payment page."""

    request: str | None = None
    idempotency_key: str | None = None


class World:
    """One Stripe account in memory. Calls are plain functions that never wait, so each one is atomic."""

    def __init__(self, identifiers: Identifiers, *, base_url: str = "", debit_delay_s: float | None = None) -> None:
        self.identifiers = identifiers
        self.base_url = base_url
        self.debit_delay_s = debit_delay_s
        self.advanced_s = 0
        self.objects: dict[str, dict[str, Object]] = {}
        self.hidden: dict[str, dict[str, Any]] = {}
        self.on_event: list[Callable[[Object], None]] = []
        self._origin = Origin()

    def now(self) -> int:
        return int(time.time()) + self.advanced_s

    def add(self, made: Object) -> Object:
        self.objects.setdefault(made["object"], {})[made["id"]] = made
        return made

    def all(self, kind: str) -> list[Object]:
        """Every object of a kind, newest first, as Stripe lists them."""
        return list(reversed(self.objects.get(kind, {}).values()))

    def get(self, kind: str, identifier: str, *, param: str = "id") -> Object:
        found = self.objects.get(kind, {}).get(identifier)
        if found is None:
            raise missing(kind, identifier, param=param)
        return found

    def find(self, identifier: str) -> Object | None:
        """Whatever has this id."""
        return next((table[identifier] for table in self.objects.values() if identifier in table), None)

    def keep(self, kind: str) -> dict[str, Any]:
        """What Stripe keeps by id and never shows: signing secrets, the plan of a payment not yet made."""
        return self.hidden.setdefault(kind, {})

    @contextmanager
    def requested_by(self, origin: Origin) -> Iterator[None]:
        self._origin = origin
        try:
            yield
        finally:
            self._origin = Origin()

    def emit(self, kind: str, about: Object) -> Object:
        """Records that something happened, with a copy of the object as it is now, and tells the webhooks."""
        event = self.add(
            {
                "id": self.identifiers.new("evt_"),
                "object": "event",
                "account": None,
                "api_version": API_VERSION,
                "context": None,
                "created": self.now(),
                "data": {"object": copy.deepcopy(about)},
                "livemode": False,
                "pending_webhooks": 0,
                "request": {"id": self._origin.request, "idempotency_key": self._origin.idempotency_key},
                "type": kind,
            }
        )
        for listener in self.on_event:
            listener(event)
        return event
