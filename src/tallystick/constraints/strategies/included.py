"""Included: the plan's price includes a quota, and what comes after it is denied. Pure."""

from tallystick.catalog.plan import Plan
from tallystick.constraints.strategies.terms import Terms, capped


def terms(plan: Plan) -> Terms:
    """Each allowance is an end. A meter without one includes nothing."""
    return Terms(
        meters=tuple(constraint for meter in plan.meters for constraint in capped(meter, meter.allowance or 0)),
        charges_models=False,
        credit_limit=0,
    )
