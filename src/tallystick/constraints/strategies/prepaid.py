"""Prepaid: credits are there before a request is forwarded, or it is not. Pure."""

from tallystick.catalog.plan import Plan
from tallystick.constraints.strategies.terms import Terms, sold


def terms(plan: Plan) -> Terms:
    """Nothing is included and nothing may be owed."""
    return Terms(
        meters=tuple(constraint for meter in plan.meters for constraint in sold(meter)),
        charges_models=True,
        credit_limit=0,
    )
