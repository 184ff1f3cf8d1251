"""Every follower: which events make us look at which objects again."""

from typing import Any, Final

from tallystick.payments.billing import follow as billing
from tallystick.payments.follower import Follower
from tallystick.payments.refunds import follow as refunds

FOLLOWERS: Final[tuple[Follower[Any], ...]] = (refunds.follower, billing.PAGES, billing.SUBSCRIPTIONS)
