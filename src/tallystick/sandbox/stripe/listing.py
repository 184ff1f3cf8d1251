"""Lists as Stripe pages them: newest first, by the id of the last or first one seen."""

from collections.abc import Callable

from tallystick.sandbox.stripe.call import Call
from tallystick.sandbox.stripe.refusal import missing
from tallystick.sandbox.stripe.world import Object

_LIMIT_DEFAULT = 10
_LIMIT_MAX = 100


def page(call: Call, found: list[Object], *, keep: Callable[[Object], bool] = lambda _: True) -> Object:
    """The page of `found` that `limit`, `starting_after`, `ending_before` and `created` ask for."""
    parameters = call.parameters
    limit = parameters.integer("limit", minimum=1, maximum=_LIMIT_MAX) or _LIMIT_DEFAULT
    after, before = parameters.text("starting_after"), parameters.text("ending_before")
    created = parameters.created()
    parameters.finish()
    rows = [row for row in found if keep(row) and created(row.get("created", 0))]
    if after is not None:
        rows = rows[_position(rows, after, "starting_after") + 1 :]
    if before is not None:
        rows = rows[: _position(rows, before, "ending_before")]
        data, has_more = rows[-limit:], len(rows) > limit
    else:
        data, has_more = rows[:limit], len(rows) > limit
    return {"object": "list", "data": data, "has_more": has_more, "url": call.path}


def matching(call: Call, **filters: str) -> Callable[[Object], bool]:
    """Rows whose field equals the parameter of a filter: `matching(call, customer="customer")`."""
    wanted = {field: call.parameters.text(name) for name, field in filters.items()}
    return lambda row: all(value is None or row.get(field) == value for field, value in wanted.items())


def _position(rows: list[Object], identifier: str, param: str) -> int:
    for position, row in enumerate(rows):
        if row["id"] == identifier:
            return position
    raise missing("object", identifier, param=param)
