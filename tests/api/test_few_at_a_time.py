import pytest

from tallystick.api.few_at_a_time import FewAtATime
from tallystick.base.errors import RateLimited


def test_each_organization_has_its_own_few() -> None:
    few = FewAtATime(2)
    with few.one_of("org_a"), few.one_of("org_a"), few.one_of("org_b"), pytest.raises(RateLimited):
        few.one_of("org_a").__enter__()
    with few.one_of("org_a"):
        pass


def test_a_failure_makes_room_too() -> None:
    few = FewAtATime(1)
    with pytest.raises(ZeroDivisionError), few.one_of("org_a"):
        raise ZeroDivisionError
    with few.one_of("org_a"):
        pass
