"""What the catalog refuses.

InvalidInput (422)
`-- CatalogError           a catalog that must not be published
NotFound (404)
|-- UnknownModel           no route and no open provider has this name
|-- UnknownPack
|-- UnknownCoupon
`-- UnknownPlan
Forbidden (403)
`-- UnpricedModel          no price, no call
Unavailable (503)
`-- ProviderNotReady       the credential of the model's provider is missing here
"""

from collections.abc import Sequence

from tallystick.base.errors import Forbidden, InvalidInput, NotFound, Unavailable


class CatalogError(InvalidInput):
    """A catalog that must not be published: every problem is one sentence that names table, entry and field."""

    code = "invalid_catalog"

    def __init__(self, problems: Sequence[str]) -> None:
        super().__init__("catalog", "\n".join(problems))
        self.problems = tuple(problems)
        self.message = "\n".join(problems)
        self.args = (self.message,)
        self.details["problems"] = list(problems)


class UnknownModel(NotFound):
    """There is no such model for customers."""

    code = "model_not_found"


class UnpricedModel(Forbidden):
    """The model is known, but nobody said what it costs or what it sells for: no price, no call."""

    code = "model_not_priced"


class ProviderNotReady(Unavailable):
    """The model is for sale, but this process has no credential for its provider."""

    code = "provider_not_ready"


class UnknownPack(NotFound):
    """There is no such pack of credits."""

    code = "pack_not_found"


class UnknownCoupon(NotFound):
    """There is no coupon of this code."""

    code = "coupon_not_found"


class UnknownPlan(NotFound):
    """There is no such plan on offer."""

    code = "plan_not_found"
