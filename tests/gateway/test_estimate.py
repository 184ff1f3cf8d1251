"""What is reserved is never less than what a call within its bounds can cost, and a clamp never exceeds the funds."""

from typing import Any

import orjson
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from tallystick.catalog.candidate import Candidate
from tallystick.catalog.price import Rates, Tier, Usage
from tallystick.gateway.chat_request import ChatRequest, parse
from tallystick.gateway.estimate import bounds, clamp, estimate
from tallystick.gateway.limits import Limits

LIMITS = Limits()
rate = st.integers(0, 10**12)
some_rate = st.none() | rate
tiers = st.lists(
    st.builds(
        Tier,
        above_input_tokens=st.integers(1, 3000),
        input=some_rate,
        cached_input=some_rate,
        cache_write=some_rate,
        input_audio=some_rate,
        output=some_rate,
        reasoning=some_rate,
        output_audio=some_rate,
    ),
    max_size=3,
    unique_by=lambda tier: tier.above_input_tokens,
).map(lambda found: tuple(sorted(found, key=lambda tier: tier.above_input_tokens)))
rates = st.builds(
    Rates,
    input=rate,
    cached_input=some_rate,
    cache_write=some_rate,
    input_audio=some_rate,
    output=rate,
    reasoning=some_rate,
    output_audio=some_rate,
    request=some_rate,
    tiers=tiers,
)


def candidate(price: Rates, **fields: Any) -> Candidate:
    values: dict[str, Any] = {
        "provider": "acme",
        "protocol": "openai",
        "base_url": "http://acme.test",
        "credential": None,
        "model": "small-1",
        "limit_parameter": "max_tokens",
        "context_tokens": None,
        "output_tokens_max": 500,
        "image_tokens_max": 1000,
        "cost_id": 1,
        "cost_rates": price,
        "price_id": 2,
        "price_rates": price,
        "markup_ppm": 1_234_567,
    }
    return Candidate(**(values | fields))


def request(**fields: Any) -> ChatRequest:
    body = {"model": "small", "messages": [{"role": "user", "content": "Say hello"}], **fields}
    return parse(orjson.dumps(body), 16)


@given(
    rates,
    st.integers(1, 600),
    st.integers(1, 4),
    st.booleans(),
    st.floats(0, 1),
    st.floats(0, 1),
    st.lists(st.floats(0, 1), min_size=5, max_size=5),
)
def test_no_usage_within_the_bounds_costs_more_than_was_reserved(
    price: Rates, limit: int, n: int, audio: bool, in_part: float, out_part: float, parts: list[float]
) -> None:
    model = candidate(price)
    asked = request(max_tokens=limit, n=n, **({"audio": {"voice": "x"}} if audio else {}))
    most = estimate(asked, model, None, LIMITS)
    within = bounds(asked, model, most, LIMITS)
    used_in, used_out = int(within.input_tokens_max * in_part), int(within.output_tokens_max * out_part)
    usage = Usage(
        input_tokens=used_in,
        cached_tokens=int(used_in * parts[0]),
        cache_write_tokens=int(used_in * parts[1]),
        input_audio_tokens=int(used_in * parts[2]) if audio else 0,
        output_tokens=used_out,
        reasoning_tokens=int(used_out * parts[3]),
        output_audio_tokens=int(used_out * parts[4]) if audio else 0,
    )
    assert model.charge(usage) <= most.amount
    assert model.charge(most.usage) == most.amount


@given(rates, st.integers(1, 500), st.integers(1, 4), st.integers(0, 10**12))
def test_a_clamp_is_the_most_that_the_funds_hold(price: Rates, limit: int, n: int, funds: int) -> None:
    model = candidate(price)
    asked = request(max_tokens=limit, n=n)
    whole = estimate(asked, model, None, LIMITS)
    if whole.amount <= funds:
        return
    found = clamp(asked, model, whole, funds, LIMITS)
    least = min(LIMITS.clamp_tokens_min, limit)
    if found is None:
        assert estimate(request(max_tokens=least, n=n), model, None, LIMITS).amount > funds
        return
    assert found.amount <= funds
    assert least <= found.output_limit < limit
    # The same request with one token more, not another body that may be a byte longer.
    one_more = replace(asked, output_limit=found.output_limit + 1)
    assert estimate(one_more, model, None, LIMITS).amount > funds


def test_the_context_window_bounds_the_input() -> None:
    asked = request(messages=[{"role": "user", "content": "x" * 100_000}])
    small = candidate(Rates(input=10**9, output=0), context_tokens=8000)
    assert estimate(asked, small, None, LIMITS).usage.input_tokens == 8000


def test_an_image_counts_as_its_bound_and_text_that_says_it_is_one_as_text() -> None:
    def asked(url: str) -> ChatRequest:
        content = [{"type": "image_url", "image_url": {"url": url}}]
        return request(messages=[{"role": "user", "content": content}])

    model = candidate(Rates(input=10**9, output=0))
    image = estimate(asked("data:image/png;base64," + "x" * 50_000), model, None, LIMITS)
    remote = estimate(asked("https://example.test/cat.png"), model, None, LIMITS)
    text = estimate(asked("data:text/plain," + "x" * 50_000), model, None, LIMITS)
    assert 1000 < image.usage.input_tokens < 1300
    assert 1000 < remote.usage.input_tokens < 1300
    assert text.usage.input_tokens > 50_000
