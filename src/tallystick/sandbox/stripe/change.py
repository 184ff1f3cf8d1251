"""A change of an object, and what was there before: the `previous_attributes` of the event that tells of it."""

from typing import Any

from tallystick.sandbox.stripe.world import Object


def change(changed: Object, **values: Any) -> Object:
    """Gives fields new values. Returns the old ones of those that differ; of a nested object only the parts."""
    before = {name: _before(changed.get(name), value) for name, value in values.items() if changed.get(name) != value}
    changed.update(values)
    return before


def _before(old: object, new: object) -> object:
    if not isinstance(old, dict) or not isinstance(new, dict):
        return old
    return {name: _before(old.get(name), new.get(name)) for name in old | new if old.get(name) != new.get(name)}
