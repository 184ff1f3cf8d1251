"""Webhook endpoints: who is told of events, signed with a secret shown once."""

from tallystick.sandbox.stripe.call import Call, Route
from tallystick.sandbox.stripe.event import matches
from tallystick.sandbox.stripe.listing import page
from tallystick.sandbox.stripe.metadata import merged
from tallystick.sandbox.stripe.world import API_VERSION, Object, World


def register(world: World, url: str, *, secret: str | None = None, events: list[str] | None = None) -> Object:
    """Stores an endpoint and its signing secret."""
    endpoint = world.add(
        {
            "id": world.identifiers.new("we_"),
            "object": "webhook_endpoint",
            "api_version": API_VERSION,
            "application": None,
            "created": world.now(),
            "description": None,
            "enabled_events": events or ["*"],
            "livemode": False,
            "metadata": {},
            "status": "enabled",
            "url": url,
        }
    )
    world.keep("endpoint_secret")[endpoint["id"]] = secret or world.identifiers.new("whsec_")
    return endpoint


def subscribed(world: World, kind: str) -> list[Object]:
    """The endpoints that want events of a kind, oldest first."""
    endpoints = reversed(world.all("webhook_endpoint"))
    return [e for e in endpoints if e["status"] == "enabled" and any(matches(kind, w) for w in e["enabled_events"])]


def create(call: Call) -> Object:
    parameters = call.parameters
    url = parameters.require(parameters.url("url"), "url")
    events = parameters.require(parameters.texts("enabled_events") or None, "enabled_events")
    description, metadata = parameters.text("description"), merged({}, parameters.metadata())
    parameters.text("api_version")
    parameters.finish()
    endpoint = register(call.world, url, events=events)
    endpoint |= {"description": description, "metadata": metadata}
    return {**endpoint, "secret": call.world.keep("endpoint_secret")[endpoint["id"]]}


def retrieve(call: Call) -> Object:
    call.parameters.finish()
    return call.world.get("webhook_endpoint", call.id)


def list_all(call: Call) -> Object:
    return page(call, call.world.all("webhook_endpoint"))


def update(call: Call) -> Object:
    endpoint, parameters = call.world.get("webhook_endpoint", call.id), call.parameters
    url, events, disabled = parameters.url("url"), parameters.texts("enabled_events"), parameters.flag("disabled")
    parameters.finish()
    endpoint |= {"url": url or endpoint["url"], "enabled_events": events or endpoint["enabled_events"]}
    if disabled is not None:
        endpoint["status"] = "disabled" if disabled else "enabled"
    return endpoint


def delete(call: Call) -> Object:
    call.parameters.finish()
    call.world.get("webhook_endpoint", call.id)
    del call.world.objects["webhook_endpoint"][call.id]
    return {"id": call.id, "object": "webhook_endpoint", "deleted": True}


routes = (
    Route("POST", "/v1/webhook_endpoints", create),
    Route("GET", "/v1/webhook_endpoints", list_all),
    Route("GET", "/v1/webhook_endpoints/{id}", retrieve),
    Route("POST", "/v1/webhook_endpoints/{id}", update),
    Route("DELETE", "/v1/webhook_endpoints/{id}", delete),
)
