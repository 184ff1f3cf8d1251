"""One call of the API as an endpoint sees it, and the table that leads to the endpoint."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeAlias

from tallystick.sandbox.stripe.parameters import Parameters
from tallystick.sandbox.stripe.world import Object, World


@dataclass(frozen=True, slots=True)
class Call:
    world: World
    parameters: Parameters
    path: str
    id: str = ""


Endpoint: TypeAlias = Callable[[Call], Object]


@dataclass(frozen=True, slots=True)
class Route:
    method: str
    path: str
    endpoint: Endpoint


def find_route(routes: Sequence[Route], method: str, path: str) -> tuple[Endpoint, str] | None:
    """The endpoint of a path and the id in it, if there is one."""
    given = path.strip("/").split("/")
    for route in routes:
        wanted = route.path.strip("/").split("/")
        if route.method != method or len(wanted) != len(given):
            continue
        if all(want in {"{id}", part} for want, part in zip(wanted, given, strict=True)):
            return route.endpoint, next((p for w, p in zip(wanted, given, strict=True) if w == "{id}"), "")
    return None
