from itertools import product

import pytest

from tallystick.payments.orders.life import STATES, UNPAID, may_become, state_of_money


def test_credits_are_given_once_and_never_taken_as_unpaid():
    assert [state for state in STATES if may_become("credited", state)] == ["refunded", "disputed"]
    assert not any(may_become(state, "created") for state in STATES)
    assert not any(may_become(state, state) for state in STATES)


def test_money_that_comes_late_still_counts():
    for state in ("created", "awaiting_payment", "expired", "failed"):
        assert may_become(state, "credited"), state
        assert may_become(state, "paid"), state


def test_the_end_of_the_page_is_the_end_whatever_is_told_first():
    assert may_become("failed", "expired")
    assert not may_become("expired", "failed")


def test_what_is_paid_is_never_expired_or_failed():
    paid = set(STATES) - UNPAID - {"expired", "failed"}
    assert not any(may_become(state, end) for state, end in product(paid, ("expired", "failed")))


@pytest.mark.parametrize(
    ("refunded", "disputed", "credited", "state"),
    [
        (0, 0, True, "credited"),
        (0, 0, False, "paid"),
        (2499, 0, True, "credited"),
        (2500, 0, True, "refunded"),
        (2500, 0, False, "refunded"),
        (0, 1, True, "disputed"),
        (2000, 500, True, "disputed"),
    ],
)
def test_the_state_follows_from_what_went_back(refunded, disputed, credited, state):
    assert state_of_money(2500, refunded, disputed, credited=credited) == state
