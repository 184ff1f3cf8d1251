"""`expand[]=payment_intent.latest_charge`: ids in an answer replaced by the objects they name."""

import copy
from collections.abc import Iterable

from tallystick.sandbox.stripe.refusal import Refusal
from tallystick.sandbox.stripe.world import Object, World

_DEPTH_MAX = 4


def expanded(world: World, answer: Object, paths: Iterable[str]) -> Object:
    """A copy of the answer with every path expanded. Raises Refusal for a path that names nothing expandable."""
    shown = copy.deepcopy(answer)
    for path in paths:
        parts = path.split(".")
        if len(parts) > _DEPTH_MAX:
            raise Refusal(400, "You cannot expand more than 4 levels of a property.", param="expand", kept=False)
        _expand(world, shown, parts, path)
    return shown


def _expand(world: World, shown: Object, parts: list[str], path: str) -> None:
    name, rest = parts[0], parts[1:]
    if name == "data" and isinstance(shown.get("data"), list):
        for row in shown["data"]:
            _expand(world, row, rest, path)
        return
    if name == "line_items" and shown.get("object") == "checkout.session":
        shown[name] = copy.deepcopy(world.keep("line_items")[shown["id"]])
        return
    if name not in shown or not isinstance(shown[name], str | dict | None):
        raise _not_expandable(path)
    if isinstance(shown[name], str):
        target = world.find(shown[name])
        if target is None:
            raise _not_expandable(path)
        shown[name] = copy.deepcopy(target)
    if rest and isinstance(shown[name], dict):
        _expand(world, shown[name], rest, path)


def _not_expandable(path: str) -> Refusal:
    return Refusal(400, f"This property cannot be expanded ({path}).", param="expand[]", kept=False)
