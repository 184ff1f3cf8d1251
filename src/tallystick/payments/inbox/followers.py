"""Every follower: which events make us look at which objects again."""

from typing import Any, Final

from tallystick.payments.follower import Follower

FOLLOWERS: Final[tuple[Follower[Any], ...]] = ()
