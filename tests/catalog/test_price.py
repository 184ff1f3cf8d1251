"""Exact money from usage: against Fraction, and against the rules written beside the structs."""

from fractions import Fraction
from math import ceil

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tallystick.catalog.price import KINDS, MARKUP_ONE, Rates, Tier, Usage, amount, rates_at

rate = st.none() | st.integers(0, 10**13)
tokens = st.integers(0, 5_000_000)


@st.composite
def consistent_usages(draw: st.DrawFn) -> Usage:
    plain, cached, written, heard, answered, reasoned, spoken = (draw(tokens) for _ in range(7))
    return Usage(
        input_tokens=plain + cached + written + heard,
        cached_tokens=cached,
        cache_write_tokens=written,
        input_audio_tokens=heard,
        output_tokens=answered + reasoned + spoken,
        reasoning_tokens=reasoned,
        output_audio_tokens=spoken,
        images=draw(st.integers(0, 50)),
        requests=draw(st.integers(0, 3)),
    )


@st.composite
def all_rates(draw: st.DrawFn) -> Rates:
    bounds = sorted(draw(st.sets(st.integers(0, 10_000_000), max_size=3)))
    token_kinds = [kind for kind in KINDS if kind not in ("image", "request")]
    tiers = tuple(Tier(above_input_tokens=bound, **{kind: draw(rate) for kind in token_kinds}) for bound in bounds)
    return Rates(**{kind: draw(rate) for kind in KINDS}, tiers=tiers)


def exact(rates: Rates, usage: Usage, markup_ppm: int) -> Fraction:
    """The same rules said a second way: each kind looked up by name, each sum a Fraction."""
    parents = {"cached_input": "input", "cache_write": "input", "input_audio": "input"}
    parents |= {"reasoning": "output", "output_audio": "output"}

    def of(kind: str) -> int:
        reached = [tier for tier in rates.tiers if usage.input_tokens > tier.above_input_tokens]
        for level in (*reversed(reached), rates):
            if (value := getattr(level, kind, None)) is not None:
                return int(value)
        return of(parents[kind]) if kind in parents else 0

    quantities = {
        "input": usage.input_tokens - usage.cached_tokens - usage.cache_write_tokens - usage.input_audio_tokens,
        "cached_input": usage.cached_tokens,
        "cache_write": usage.cache_write_tokens,
        "input_audio": usage.input_audio_tokens,
        "output": usage.output_tokens - usage.reasoning_tokens - usage.output_audio_tokens,
        "reasoning": usage.reasoning_tokens,
        "output_audio": usage.output_audio_tokens,
        "image": usage.images,
        "request": usage.requests,
    }
    return sum((Fraction(quantities[kind] * of(kind) * markup_ppm, 10**12) for kind in KINDS), Fraction(0))


@given(rates=all_rates(), usage=consistent_usages(), markup_ppm=st.integers(1, 10**9))
def test_the_amount_is_the_exact_sum_rounded_up_once(rates: Rates, usage: Usage, markup_ppm: int) -> None:
    assert amount(rates, usage, markup_ppm) == ceil(exact(rates, usage, markup_ppm))


counts = st.integers(-(10**7), 10**7)


@given(
    rates=all_rates(),
    usage=st.builds(Usage, **dict.fromkeys(Usage.__struct_fields__, counts)),
    markup_ppm=st.integers(1, 10**9),
)
def test_no_usage_makes_money_negative_or_counts_a_token_twice(rates: Rates, usage: Usage, markup_ppm: int) -> None:
    flat = rates_at(rates, usage.input_tokens)
    dearest_in = max(flat.input, flat.cached_input, flat.cache_write, flat.input_audio)
    dearest_out = max(flat.output, flat.reasoning, flat.output_audio)
    most = max(usage.input_tokens, 0) * dearest_in + max(usage.output_tokens, 0) * dearest_out
    most += max(usage.images, 0) * flat.image + max(usage.requests, 0) * flat.request
    assert 0 <= amount(rates, usage, markup_ppm) <= ceil(Fraction(most * markup_ppm, 10**12))


@given(input_rate=st.integers(1, 10**13), markup_ppm=st.integers(1, 10**9))
def test_a_paid_token_is_never_free(input_rate: int, markup_ppm: int) -> None:
    assert amount(Rates(input=input_rate), Usage(input_tokens=1), markup_ppm) >= 1


@settings(max_examples=20)
@given(input_rate=st.integers(1, 10**12), markup_ppm=st.integers(1, 5 * MARKUP_ONE))
def test_a_million_one_token_requests_are_charged_within_a_million_nanocredits(
    input_rate: int, markup_ppm: int
) -> None:
    usage = Usage(input_tokens=1)
    charged = sum(amount(Rates(input=input_rate), usage, markup_ppm) for _ in range(1000)) * 1000
    exact_sum = Fraction(input_rate * markup_ppm, 10**12) * 10**6
    assert 0 <= charged - exact_sum < 10**6


def test_the_published_example() -> None:
    # gpt-4o-mini: $0.15 in, $0.075 cached, $0.60 out, per million tokens.
    rates = Rates(input=150_000_000, cached_input=75_000_000, output=600_000_000)
    usage = Usage(input_tokens=1_200, cached_tokens=1_024, output_tokens=300, reasoning_tokens=200)
    # 176 x 150 + 1024 x 75 + 300 x 600 = 26_400 + 76_800 + 180_000
    assert amount(rates, usage) == 283_200
    assert amount(rates, usage, 1_250_000) == 354_000


def test_a_kind_without_a_rate_costs_what_its_parent_costs() -> None:
    rates = Rates(input=2_000_000, output=3_000_000)
    usage = Usage(input_tokens=10, cached_tokens=4, cache_write_tokens=3, input_audio_tokens=3, output_tokens=0)
    assert amount(rates, usage) == 20
    assert amount(rates, Usage(output_tokens=10, reasoning_tokens=5, output_audio_tokens=5)) == 30


def test_images_and_requests_are_charged_by_the_piece() -> None:
    rates = Rates(image=40_000_000_000_000, request=5_000_000_000_000)
    assert amount(rates, Usage(images=2, requests=1)) == 85_000_000


def test_nothing_used_costs_nothing_where_requests_are_free() -> None:
    assert amount(Rates(input=1, output=1), Usage()) == 0


@pytest.mark.parametrize(("size", "expected"), [(199_999, 1), (200_000, 1), (200_001, 2), (500_001, 5)])
def test_a_tier_holds_above_its_bound_for_all_tokens(size: int, expected: int) -> None:
    rates = Rates(
        input=1_000_000,
        output=1_000_000,
        tiers=(
            Tier(above_input_tokens=200_000, input=2_000_000, output=2_000_000),
            Tier(above_input_tokens=500_000, input=5_000_000),
        ),
    )
    flat = rates_at(rates, size)
    assert flat.input == expected * 1_000_000
    # The second tier says nothing of output: it stays at the first tier's.
    assert flat.output == min(expected, 2) * 1_000_000
    assert amount(rates, Usage(input_tokens=size)) == size * expected


def test_a_tier_leaves_a_rate_alone_that_it_does_not_name() -> None:
    rates = Rates(input=4, cached_input=1, tiers=(Tier(above_input_tokens=10, input=8),))
    assert rates_at(rates, 11).cached_input == 1
    assert rates_at(rates, 11).cache_write == 8


def test_contradictory_usage_is_cut_to_its_total() -> None:
    rates = Rates(input=10_000_000, cached_input=1_000_000, cache_write=3_000_000)
    assert amount(rates, Usage(input_tokens=5, cached_tokens=9)) == 5
    assert amount(rates, Usage(input_tokens=5, cached_tokens=3, cache_write_tokens=9)) == 3 + 6
    assert amount(rates, Usage(input_tokens=-5, cached_tokens=-9, images=-1, requests=-1)) == 0
