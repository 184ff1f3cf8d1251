"""Shares of credits: whatever the parts, together they are the whole."""

from hypothesis import given
from hypothesis import strategies as st

from tallystick.payments.refunds.share import NOTHING, Share, part_worth, share_of

wholes = st.builds(Share, money=st.integers(1, 10**15), bonus=st.integers(0, 10**15))


@given(whole=wholes, parts=st.lists(st.integers(1, 10**6), min_size=1, max_size=20))
def test_parts_in_any_sizes_come_to_the_whole_and_never_before_the_last(whole, parts):
    paid, gone, gone_minor = sum(parts), NOTHING, 0
    for part in parts:
        assert gone.money * paid <= whole.money * gone_minor
        assert gone.bonus * paid <= whole.bonus * gone_minor
        share = share_of(whole, paid, part, gone_minor=gone_minor, gone=gone)
        assert min(share.money, share.bonus) >= 0
        gone = Share(money=gone.money + share.money, bonus=gone.bonus + share.bonus)
        gone_minor += part
    assert gone == whole


@given(whole=wholes, paid=st.integers(1, 10**6), used=st.floats(0, 1), data=st.data())
def test_what_is_unspent_is_covered_and_a_cent_more_is_not(whole, paid, used, data):
    first = data.draw(st.integers(0, paid - 1))
    gone = share_of(whole, paid, first) if first else NOTHING
    free = int((whole.credits - gone.credits) * used)
    minor = part_worth(whole, paid, free, gone_minor=first, gone=gone)
    assert 0 <= minor <= paid - first
    if minor:
        assert share_of(whole, paid, minor, gone_minor=first, gone=gone).credits <= free
    if minor + 1 < paid - first:
        # Rounded down, money and gift each by less than one.
        assert share_of(whole, paid, minor + 1, gone_minor=first, gone=gone).credits >= free - 1
