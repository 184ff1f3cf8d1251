"""Pay as you go: every unit is billed, from credits as long as there are some, then on account. Pure."""

from tallystick.catalog.plan import Plan
from tallystick.constraints.strategies.terms import Terms, sold


def terms(plan: Plan) -> Terms:
    """Nothing is included. Models by the price book, unless the plan bills their tokens by meters of its own."""
    return Terms(
        meters=tuple(constraint for meter in plan.meters for constraint in sold(meter)),
        charges_models=plan.charges_models,
        credit_limit=plan.credit_limit,
    )
