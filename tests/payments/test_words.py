"""What operators write down is a text that can be printed."""

import pytest

from tallystick.base.errors import InvalidInput
from tallystick.payments.words import words


def test_without_space_around_it():
    assert words(" bank statement 4 \n", "proof") == "bank statement 4"
    assert words("x" * 500, "reason") == "x" * 500


@pytest.mark.parametrize("text", ["", " \n", "a\nb", "\x00", "x" * 501])
def test_nothing_else(text):
    with pytest.raises(InvalidInput) as refused:
        words(text, "reason")
    assert refused.value.details["field"] == "reason"
