"""What an organization may use of a feature, read from its constraints; and the refusals. Pure."""

from datetime import datetime

from tallystick.base.errors import Forbidden, InvalidInput
from tallystick.constraints.constraints import Constraints
from tallystick.reservations.claim import UNITS_MAX


class UnknownFeature(InvalidInput):
    """The catalog has no feature of that name: `tallystick apply` publishes one."""

    code = "unknown_feature"


class NoAccess(Forbidden):
    """The subscription gives no access now; the message says why."""

    code = "no_access"


def limit_of(constraints: Constraints, feature: str) -> int | None:
    """None is unlimited. Raises UnknownFeature: a misspelt gate must not stand open."""
    if feature not in constraints.quotas:
        raise UnknownFeature("feature", "is not in the catalog")
    return constraints.quotas[feature]


def access_refusal(constraints: Constraints, now: datetime) -> str | None:
    """One sentence for the customer where the subscription gives no access now."""
    ended = constraints.access_until is not None and now >= constraints.access_until
    if constraints.access and not ended:
        return None
    return constraints.access_reason or "Your organization has no access."


def check_access(constraints: Constraints, now: datetime) -> None:
    """Raises NoAccess."""
    reason = access_refusal(constraints, now)
    if reason is not None:
        raise NoAccess(reason)


def check_units(units: object, field: str = "units") -> int:
    """Raises InvalidInput for what is no whole number from 1 on."""
    # Not isinstance: a bool is an int too.
    if type(units) is not int or not 0 < units <= UNITS_MAX:
        raise InvalidInput(field, f"must be a whole number from 1 to {UNITS_MAX}")
    return units
