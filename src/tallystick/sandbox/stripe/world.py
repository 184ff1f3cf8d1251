"""Everything the sandbox remembers: the objects the API shows, what Stripe keeps to itself, and its clock."""

import heapq
import math
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Final, TypeAlias

from tallystick.sandbox.stripe.identifier import Identifiers
from tallystick.sandbox.stripe.json_text import copied
from tallystick.sandbox.stripe.refusal import missing

Object: TypeAlias = dict[str, Any]

# The version the official SDK 16.1 speaks; objects here have its fields. A test compares the two.
API_VERSION: Final = "2026-10-28.endive"

# Fields that lists are filtered by: the objects of a kind are found by them without a look at all the others.
INDEXED: Final = {
    "balance_transaction": ("source",),
    "charge": ("customer", "payment_intent"),
    "checkout.session": ("customer", "payment_intent"),
    "dispute": ("charge", "payment_intent"),
    "invoice": ("customer",),
    "invoice_payment": ("invoice",),
    "invoiceitem": ("customer",),
    "payment_intent": ("customer",),
    "payment_method": ("customer",),
    "refund": ("charge", "payment_intent"),
    "subscription": ("customer",),
}


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
        self._index: dict[tuple[str, str, str], dict[str, None]] = {}
        self._origin = Origin()

    def now(self) -> int:
        return int(time.time()) + self.advanced_s

    def move_to(self, at: float) -> None:
        """Moves the clock on to a moment; it never goes back."""
        self.advanced_s = max(self.advanced_s, math.ceil(at) - int(time.time()))

    def add(self, made: Object) -> Object:
        self.objects.setdefault(made["object"], {})[made["id"]] = made
        self.index(made)
        return made

    def index(self, changed: Object) -> None:
        """To be told when an indexed field of a stored object has changed. Where it was before does no harm: `of`
        looks at the field itself."""
        for field in INDEXED.get(changed["object"], ()):
            if value := changed.get(field):
                self._index.setdefault((changed["object"], field, value), {})[changed["id"]] = None

    def restore(self, objects: dict[str, dict[str, Object]], hidden: dict[str, dict[str, Any]]) -> None:
        """Takes over what an earlier run remembered."""
        self.objects.update(objects)
        self.hidden.update(hidden)
        for table in objects.values():
            for found in table.values():
                self.index(found)

    def all(self, kind: str) -> list[Object]:
        """Every object of a kind, newest first, as Stripe lists them."""
        return list(reversed(self.objects.get(kind, {}).values()))

    def of(self, kind: str, field: str, value: str) -> list[Object]:
        """The objects of a kind whose indexed field has a value, newest first."""
        table = self.objects.get(kind, {})
        named = reversed(self._index.get((kind, field, value), {}))
        return [table[name] for name in named if name in table and table[name].get(field) == value]

    def get(self, kind: str, identifier: str, *, param: str = "id") -> Object:
        found = self.objects.get(kind, {}).get(identifier)
        if found is None:
            raise missing(kind, identifier, param=param)
        return found

    def living(self, kind: str, identifier: str, *, param: str) -> Object:
        """What a parameter names, unless it was deleted: that can only be looked at."""
        found = self.get(kind, identifier, param=param)
        if "deleted" in found:
            raise missing(kind, identifier, param=param)
        return found

    def find(self, identifier: str) -> Object | None:
        """Whatever has this id."""
        return next((table[identifier] for table in self.objects.values() if identifier in table), None)

    def keep(self, kind: str) -> dict[str, Any]:
        """What Stripe keeps by id and never shows: signing secrets, the plan of a payment not yet made."""
        return self.hidden.setdefault(kind, {})

    def later(self, at: float, what: str, about: str) -> None:
        """Notes that something falls due for an object; `due.ACTIONS` says what is done then."""
        agenda = self.keep("agenda")
        agenda["noted"] = agenda.get("noted", 0) + 1
        heapq.heappush(agenda.setdefault("open", []), [at, agenda["noted"], what, about])

    def take_due(self, until: float) -> tuple[float, str, str] | None:
        """The earliest that falls due by then, taken off the agenda: when, what and about which object."""
        waiting = self.keep("agenda").get("open")
        if not waiting or waiting[0][0] > until:
            return None
        at, _, what, about = heapq.heappop(waiting)
        return at, what, about

    @contextmanager
    def requested_by(self, origin: Origin) -> Iterator[None]:
        self._origin = origin
        try:
            yield
        finally:
            self._origin = Origin()

    def change(self, about: Object, kind: str, changes: Object) -> Object:
        """Changes fields of an object and emits the event of that kind, with what they were before. Nothing happens
        when nothing differs. Returns what was otherwise before."""
        before = {field: copied(about.get(field)) for field in changes}
        about.update(changes)
        self.index(about)
        previous = difference(before, {field: about[field] for field in changes})
        if previous:
            self.emit(kind, about, previous=previous)
        return previous

    def emit(self, kind: str, about: Object, *, previous: Object | None = None) -> Object:
        """Records that something happened, with a copy of the object as it is now and what of it was otherwise
        before, and tells the webhooks."""
        data = {"object": copied(about)}
        if previous is not None:
            data["previous_attributes"] = copied(previous)
        event = self.add(
            {
                "id": self.identifiers.new("evt_"),
                "object": "event",
                "account": None,
                "api_version": API_VERSION,
                "context": None,
                "created": self.now(),
                "data": data,
                "livemode": False,
                "pending_webhooks": 0,
                "request": {"id": self._origin.request, "idempotency_key": self._origin.idempotency_key},
                "type": kind,
            }
        )
        for listener in self.on_event:
            listener(event)
        return event


def difference(before: Object, after: Object) -> Object:
    """What an update event shows of the past: fields that differ, as they were. Objects are compared inside, lists
    as a whole; a key that is new was null."""
    previous: Object = {}
    for field in before.keys() | after.keys():
        was, is_ = before.get(field), after.get(field)
        if isinstance(was, dict) and isinstance(is_, dict):
            if inside := difference(was, is_):
                previous[field] = inside
        elif was != is_:
            previous[field] = was
    return previous
