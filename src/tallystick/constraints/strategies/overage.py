"""Overage: the plan's price includes a quota, and what goes beyond is billed, within the credit limit. Pure."""

from tallystick.catalog.plan import Plan
from tallystick.constraints.strategies.terms import Terms, priced


def terms(plan: Plan) -> Terms:
    """Beyond each allowance the meter's price, up to its cap where it has one."""
    return Terms(
        meters=tuple(constraint for meter in plan.meters for constraint in priced(meter, meter.allowance or 0)),
        charges_models=False,
        credit_limit=plan.credit_limit,
    )
