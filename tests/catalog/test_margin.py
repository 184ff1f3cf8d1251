"""Margins are complete: where no kind loses, no usage can."""

from fractions import Fraction

from hypothesis import given
from hypothesis import strategies as st

from tallystick.catalog.margin import margins
from tallystick.catalog.price import KINDS, MARKUP_ONE, Rates, Tier, Usage, amount, rates_at

rate = st.none() | st.integers(0, 1000)
TOKEN_KINDS = [kind for kind in KINDS if kind not in ("image", "request")]


@st.composite
def rates(draw: st.DrawFn) -> Rates:
    bounds = sorted(draw(st.sets(st.integers(0, 30), max_size=2)))
    tiers = tuple(Tier(above_input_tokens=bound, **{kind: draw(rate) for kind in TOKEN_KINDS}) for bound in bounds)
    return Rates(**{kind: draw(rate) for kind in KINDS}, tiers=tiers)


@given(cost=rates(), price=rates(), markup_ppm=st.integers(1, 3 * MARKUP_ONE), size=st.integers(0, 40))
def test_a_kind_is_a_loss_exactly_where_its_rate_is_below_cost(
    cost: Rates, price: Rates, markup_ppm: int, size: int
) -> None:
    found = margins(cost, price, markup_ppm)
    paid, sold = rates_at(cost, size), rates_at(price, size)
    for kind in KINDS:
        loses = getattr(sold, kind) * markup_ppm < getattr(paid, kind) * MARKUP_ONE
        if loses:
            assert any(margin.kind == kind and margin.is_loss for margin in found)


@given(
    cost=rates(),
    price=rates(),
    markup_ppm=st.integers(1, 3 * MARKUP_ONE),
    usage=st.builds(Usage, **dict.fromkeys(Usage.__struct_fields__, st.integers(0, 40))),
)
def test_without_a_loss_in_any_kind_no_usage_loses(cost: Rates, price: Rates, markup_ppm: int, usage: Usage) -> None:
    if not any(margin.is_loss for margin in margins(cost, price, markup_ppm)):
        assert amount(price, usage, markup_ppm) >= amount(cost, usage)


def test_tiers_of_either_side_are_compared() -> None:
    cost = Rates(input=10, tiers=(Tier(above_input_tokens=100, input=20),))
    found = {
        margin.above_input_tokens: margin.is_loss
        for margin in margins(cost, Rates(input=15), MARKUP_ONE)
        if margin.kind == "input"
    }
    assert found == {0: False, 100: True}


def test_the_share_of_the_price_that_is_kept() -> None:
    (*_, output) = margins(Rates(output=75), Rates(output=100), MARKUP_ONE)
    assert output.share == Fraction(1, 4)
    free = next(margin for margin in margins(Rates(request=5), Rates(input=1), MARKUP_ONE) if margin.kind == "request")
    assert (free.is_loss, free.share) == (True, Fraction(-1))
