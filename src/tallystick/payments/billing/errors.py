"""Why billing through Stripe says no."""

from tallystick.base.errors import Conflict


class CustomerNotReady(Conflict):
    """The organization has no customer at Stripe yet; it gets one by itself."""

    code = "customer_not_ready"


class PlanNotOnSale(Conflict):
    """This price is of a plan, or of a version of one, that nobody can subscribe to any more."""

    code = "plan_not_on_sale"


class AlreadySubscribed(Conflict):
    """Stripe bills a subscription of this organization; the customer portal is where it is changed."""

    code = "already_subscribed"
