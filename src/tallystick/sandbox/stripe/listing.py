"""Lists as Stripe pages them: newest first, by the id of the last or first one seen."""

from collections.abc import Callable, Iterable, Iterator
from itertools import islice

from tallystick.sandbox.stripe.call import Call
from tallystick.sandbox.stripe.refusal import missing
from tallystick.sandbox.stripe.world import INDEXED, Object

_LIMIT_DEFAULT = 10
_LIMIT_MAX = 100


def page(call: Call, found: Iterable[Object], *, keep: Callable[[Object], bool] = lambda _: True) -> Object:
    """The page of `found` that `limit`, `starting_after`, `ending_before` and `created` ask for. Only as much is
    looked at as the page needs: there may be many thousands."""
    parameters = call.parameters
    limit = parameters.integer("limit", minimum=1, maximum=_LIMIT_MAX) or _LIMIT_DEFAULT
    after, before = parameters.text("starting_after"), parameters.text("ending_before")
    created = parameters.created()
    parameters.finish()
    if after is not None:
        found = _behind(found, after)
    if before is not None:
        found = _ahead(found, before)
    rows = (row for row in found if keep(row) and created(row.get("created", 0)))
    if before is not None:
        every = list(rows)
        data, has_more = every[-limit:], len(every) > limit
    else:
        first = list(islice(rows, limit + 1))
        data, has_more = first[:limit], len(first) > limit
    return {"object": "list", "data": data, "has_more": has_more, "url": call.path}


def select(call: Call, kind: str, **filters: str) -> list[Object]:
    """The objects whose fields equal the parameters of the filters: `select(call, "charge", customer="customer")`."""
    given = {field: call.parameters.text(name) for name, field in filters.items()}
    wanted = {field: value for field, value in given.items() if value is not None}
    indexed = next((field for field in wanted if field in INDEXED.get(kind, ())), None)
    found = call.world.all(kind) if indexed is None else call.world.of(kind, indexed, wanted[indexed])
    return [row for row in found if all(row.get(field) == value for field, value in wanted.items())]


def matching(call: Call, **filters: str) -> Callable[[Object], bool]:
    """Rows whose field equals the parameter of a filter: `matching(call, customer="customer")`."""
    wanted = {field: call.parameters.text(name) for name, field in filters.items()}
    return lambda row: all(value is None or row.get(field) == value for field, value in wanted.items())


def _behind(rows: Iterable[Object], identifier: str) -> Iterator[Object]:
    left = iter(rows)
    if all(row["id"] != identifier for row in left):
        raise missing("object", identifier, param="starting_after")
    return left


def _ahead(rows: Iterable[Object], identifier: str) -> list[Object]:
    seen: list[Object] = []
    for row in rows:
        if row["id"] == identifier:
            return seen
        seen.append(row)
    raise missing("object", identifier, param="ending_before")
