"""Events: what happened, to be read again by whoever missed the webhook."""

from typing import Final

from tallystick.sandbox.stripe.call import Call, Route
from tallystick.sandbox.stripe.listing import page
from tallystick.sandbox.stripe.refusal import invalid_parameter, missing
from tallystick.sandbox.stripe.world import Object, World

_KEPT_S: Final = 30 * 24 * 3600


def matches(kind: str, wanted: str) -> bool:
    """Whether an event type is meant by a name, where `charge.*` means every charge event and `*` all."""
    return wanted in {"*", kind} or (wanted.endswith(".*") and kind.startswith(wanted[:-1]))


def retrieve(call: Call) -> Object:
    call.parameters.finish()
    found = call.world.get("event", call.id)
    if not _kept(call.world, found):
        raise missing("event", call.id)
    return found


def list_all(call: Call) -> Object:
    one, several = call.parameters.text("type"), call.parameters.texts("types")
    if one and several:
        raise invalid_parameter("types", "You may only specify one of these parameters: type, types.")
    wanted = [one] if one else several
    delivered = call.parameters.flag("delivery_success")
    return page(
        call,
        call.world.all("event"),
        keep=lambda row: (
            _kept(call.world, row)
            and (not wanted or any(matches(row["type"], name) for name in wanted))
            and (delivered is None or (row["pending_webhooks"] == 0) == delivered)
        ),
    )


def _kept(world: World, event: Object) -> bool:
    """Whether it is young enough to be read again."""
    return bool(event["created"] > world.now() - _KEPT_S)


routes = (
    Route("GET", "/v1/events", list_all),
    Route("GET", "/v1/events/{id}", retrieve),
)
