"""Flat: a fixed price for access, and any hard cap. Pure."""

from tallystick.catalog.plan import Plan
from tallystick.constraints.strategies.terms import Terms, capped


def terms(plan: Plan) -> Terms:
    """Nothing costs more than the plan's price; what has no cap has no end."""
    return Terms(
        meters=tuple(constraint for meter in plan.meters for constraint in capped(meter, meter.cap)),
        charges_models=False,
        credit_limit=0,
    )
