"""`expand[]=payment_intent.latest_charge`: ids in an answer replaced by the objects they name."""

from collections.abc import Sequence

from tallystick.sandbox.stripe.json_text import copied
from tallystick.sandbox.stripe.refusal import Refusal
from tallystick.sandbox.stripe.world import Object, World

_DEPTH_MAX = 4


def expanded(world: World, answer: Object, paths: Sequence[str]) -> Object:
    """The answer, or when there are paths a copy with all of them expanded. Raises Refusal for a path that names
    nothing expandable."""
    if not paths:
        return answer
    shown: Object = copied(answer)
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
        shown[name] = copied(world.keep("line_items")[shown["id"]])
        return
    if name == "payments" and shown.get("object") == "invoice":
        payments = copied(world.of("invoice_payment", "invoice", shown["id"]))
        url = f"/v1/invoice_payments?invoice={shown['id']}"
        shown[name] = {"object": "list", "data": payments, "has_more": False, "url": url}
        if rest:
            _expand(world, shown[name], rest, path)
        return
    if name not in shown or not isinstance(shown[name], str | dict | None):
        raise _not_expandable(path)
    if isinstance(shown[name], str):
        target = world.find(shown[name])
        if target is None:
            raise _not_expandable(path)
        shown[name] = copied(target)
    if rest and isinstance(shown[name], dict):
        _expand(world, shown[name], rest, path)


def _not_expandable(path: str) -> Refusal:
    return Refusal(400, f"This property cannot be expanded ({path}).", param="expand[]", kept=False)
