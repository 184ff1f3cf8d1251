"""What usage costs at given rates: exact integer arithmetic, rounded once, up, to one nanocredit. Pure.

Rates are integers: nanocredits per 1,000,000 units, so $0.075 per million tokens is 75_000_000 and $0.04 per image is
40_000_000_000_000. Nine decimals of a dollar per million tokens fit exactly.
"""

from typing import Final, Literal, get_args

import msgspec

UNITS_PER_RATE: Final = 10**6
MARKUP_ONE: Final = 10**6

Kind = Literal[
    "input",
    "cached_input",
    "cache_write",
    "input_audio",
    "output",
    "reasoning",
    "output_audio",
    "image",
    "request",
]
KINDS: Final[tuple[Kind, ...]] = get_args(Kind)
PARENTS: Final[dict[Kind, Kind]] = {
    "cached_input": "input",
    "cache_write": "input",
    "input_audio": "input",
    "reasoning": "output",
    "output_audio": "output",
}
"""Whose rate a kind has when it has none of its own."""


class Usage(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """What one request used. `input_tokens` and `output_tokens` are totals: they include their sub-kinds."""

    input_tokens: int = 0
    """All input tokens: plain, cached, cache-write and audio ones."""
    cached_tokens: int = 0
    """Input tokens the provider read from its cache."""
    cache_write_tokens: int = 0
    """Input tokens the provider wrote to its cache."""
    output_tokens: int = 0
    """All output tokens: plain, reasoning and audio ones."""
    reasoning_tokens: int = 0
    input_audio_tokens: int = 0
    output_audio_tokens: int = 0
    images: int = 0
    """Images made, where a model charges by the image."""
    requests: int = 1


class Tier(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """Other token rates for every token of a request whose whole input is larger than `above_input_tokens`.

    A kind that is None keeps the rate of the tier below it, down to the base.
    """

    above_input_tokens: int
    input: int | None = None
    cached_input: int | None = None
    cache_write: int | None = None
    input_audio: int | None = None
    output: int | None = None
    reasoning: int | None = None
    output_audio: int | None = None


class Rates(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """Nanocredits per 1,000,000 units of each kind; None takes the rate of the parent kind.

    The parent of cached_input, cache_write and input_audio is input; that of reasoning and output_audio is output.
    The other kinds have no parent: None there means that the kind is not charged. `tiers` ascend.
    """

    input: int | None = None
    cached_input: int | None = None
    cache_write: int | None = None
    input_audio: int | None = None
    output: int | None = None
    reasoning: int | None = None
    output_audio: int | None = None
    image: int | None = None
    request: int | None = None
    tiers: tuple[Tier, ...] = ()


class FlatRates(msgspec.Struct, frozen=True, gc=False):
    """The rate of every kind for one size of input, with parents and tiers already applied."""

    input: int
    cached_input: int
    cache_write: int
    input_audio: int
    output: int
    reasoning: int
    output_audio: int
    image: int
    request: int


def amount(rates: Rates, usage: Usage, markup_ppm: int = MARKUP_ONE) -> int:
    """Nanocredits for `usage` at `rates` x `markup_ppm` / 1,000,000: exact, rounded up once.

    Rounding up means that a request with anything paid in it never costs zero, and that a million requests are
    charged at most a million nanocredits above the exact sum.

    Contradictory usage cannot make money negative or count a token twice: a negative count is zero, and sub-kinds
    are cut, in the order cached, cache write, audio (reasoning, audio), to what is left of their total.
    """
    if not (rates.tiers or _has_parts(usage)):
        # Nearly every call is of this kind, and is priced three times on its way.
        exact = (
            max(usage.input_tokens, 0) * (rates.input or 0)
            + max(usage.output_tokens, 0) * (rates.output or 0)
            + max(usage.requests, 0) * (rates.request or 0)
        )
        return -(-exact * markup_ppm // (UNITS_PER_RATE * MARKUP_ONE))
    flat = rates_at(rates, usage.input_tokens)
    plain = max(usage.input_tokens, 0)
    plain -= (cached := _within(usage.cached_tokens, plain))
    plain -= (written := _within(usage.cache_write_tokens, plain))
    plain -= (heard := _within(usage.input_audio_tokens, plain))
    answered = max(usage.output_tokens, 0)
    answered -= (reasoned := _within(usage.reasoning_tokens, answered))
    answered -= (spoken := _within(usage.output_audio_tokens, answered))
    exact = (
        plain * flat.input
        + cached * flat.cached_input
        + written * flat.cache_write
        + heard * flat.input_audio
        + answered * flat.output
        + reasoned * flat.reasoning
        + spoken * flat.output_audio
        + max(usage.images, 0) * flat.image
        + max(usage.requests, 0) * flat.request
    )
    # -(-a // b) is a / b rounded up without leaving the integers.
    return -(-exact * markup_ppm // (UNITS_PER_RATE * MARKUP_ONE))


def rates_at(rates: Rates, input_tokens: int) -> FlatRates:
    """The rate of every kind for a request with `input_tokens` of input in all.

    A tier holds for inputs strictly larger than its bound, and then for all tokens of the request, output included:
    that is how providers publish long-context prices.
    """
    if rates.tiers and input_tokens > rates.tiers[0].above_input_tokens:
        rates = _with_tiers(rates, input_tokens)
    return FlatRates(
        plain := rates.input or 0,
        plain if rates.cached_input is None else rates.cached_input,
        plain if rates.cache_write is None else rates.cache_write,
        plain if rates.input_audio is None else rates.input_audio,
        answered := rates.output or 0,
        answered if rates.reasoning is None else rates.reasoning,
        answered if rates.output_audio is None else rates.output_audio,
        rates.image or 0,
        rates.request or 0,
    )


def _with_tiers(rates: Rates, input_tokens: int) -> Rates:
    reached = [tier for tier in rates.tiers if input_tokens > tier.above_input_tokens]
    changed = {
        field: value
        for tier in reached
        for field in Tier.__struct_fields__
        if field != "above_input_tokens" and (value := getattr(tier, field)) is not None
    }
    return msgspec.structs.replace(rates, tiers=(), **changed)


def _has_parts(usage: Usage) -> bool:
    return bool(
        usage.cached_tokens
        or usage.cache_write_tokens
        or usage.input_audio_tokens
        or usage.reasoning_tokens
        or usage.output_audio_tokens
        or usage.images
    )


def _within(part: int, whole: int) -> int:
    return min(max(part, 0), whole)
