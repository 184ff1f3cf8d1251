"""Custom: a product's own units and mixed rules, each meter as the plan writes it. Pure."""

from tallystick.catalog.plan import Plan
from tallystick.constraints.strategies.terms import Terms, priced, sold


def terms(plan: Plan) -> Terms:
    """A meter with an allowance is included up to it, one without is sold from the first unit."""
    return Terms(
        meters=tuple(
            constraint
            for meter in plan.meters
            for constraint in (sold(meter) if meter.allowance is None else priced(meter, meter.allowance))
        ),
        charges_models=plan.charges_models,
        credit_limit=plan.credit_limit,
    )
