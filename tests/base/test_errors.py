import inspect
import re
from decimal import Decimal

import pytest

from tallystick.base import errors
from tallystick.base.errors import InsufficientCreditsError, RateLimited, TallystickError, Unavailable

CLASSES = [each for _, each in inspect.getmembers(errors, inspect.isclass) if issubclass(each, TallystickError)]


@pytest.mark.parametrize("error", CLASSES)
def test_each_error_is_drawn_in_the_tree_with_its_status(error: type[TallystickError]) -> None:
    drawn = re.search(rf"\b{error.__name__}\b(?: \((\d+)\))?", errors.__doc__ or "")
    assert drawn
    assert drawn[1] in {None, str(error.status)}


@pytest.mark.parametrize("error", CLASSES)
def test_each_error_has_a_public_code_and_says_when_it_is_raised(error: type[TallystickError]) -> None:
    assert re.fullmatch(r"[a-z_]+", error.code)
    assert error.__doc__
    assert 400 <= error.status < 600


def test_details_cannot_be_changed_through_what_they_were_made_of() -> None:
    given = {"field": "amount"}
    error = TallystickError("no", details=given)
    given["field"] = "other"
    assert error.details == {"field": "amount"}


def test_who_may_come_again_learns_when() -> None:
    assert RateLimited("slow down", retry_after=7).details == {"retry_after": 7}
    assert Unavailable("away").details == {"retry_after": 1}


def test_insufficient_credits_says_what_there_is_and_what_is_needed() -> None:
    error = InsufficientCreditsError(18_500_000_000, 1)
    assert (error.balance, error.required) == (Decimal("18.5"), Decimal("0.000000001"))
    assert error.status == 402
