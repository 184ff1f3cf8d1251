"""What a call used: as the provider says where that can be believed, else estimated from what was delivered (pure)."""

from typing import Final, Literal

from msgspec import Struct

from tallystick.catalog.price import Usage

# Without a provider's count, text is taken as this many bytes a token: what tokenizers reach on English prose.
BYTES_PER_TOKEN: Final = 4


class Reported(Struct, frozen=True, kw_only=True, gc=False):
    """A provider's usage in our words. None is "not told", which is not zero; `flags` say what was unreadable."""

    input_tokens: int | None = None
    cached_tokens: int = 0
    cache_write_tokens: int = 0
    output_tokens: int | None = None
    reasoning_tokens: int = 0
    input_audio_tokens: int = 0
    output_audio_tokens: int = 0
    flags: tuple[str, ...] = ()


class Delivered(Struct, gc=False):
    """What has come out of the provider so far, counted as it passes."""

    content_bytes: int = 0
    content_events: int = 0

    def output_tokens(self) -> int:
        """An event with content holds at least one token."""
        return max(tokens_of(self.content_bytes), self.content_events)


class Bounds(Struct, frozen=True, kw_only=True, gc=False):
    """What was reserved, what the input is likely to be, and up to where a provider's count is believed: it may well
    be above what was reserved, and is then charged, but not without end."""

    input_tokens_max: int
    input_tokens_likely: int
    input_believed_max: int
    output_tokens_max: int
    output_believed_max: int


class Metered(Struct, frozen=True, kw_only=True, gc=False):
    usage: Usage
    source: Literal["provider", "estimated", "none"]
    flags: tuple[str, ...] = ()


NOTHING: Final = Metered(usage=Usage(requests=0), source="none")


def tokens_of(text_bytes: int) -> int:
    return -(-text_bytes // BYTES_PER_TOKEN)


def estimated(delivered: Delivered, bounds: Bounds, flags: tuple[str, ...] = ()) -> Metered:
    """Usage nobody told us: the likely input, and the output that was relayed."""
    usage = Usage(
        input_tokens=min(bounds.input_tokens_likely, bounds.input_tokens_max),
        output_tokens=min(delivered.output_tokens(), bounds.output_tokens_max),
    )
    return Metered(usage=usage, source="estimated", flags=flags)


def meter(reported: Reported | None, delivered: Delivered, bounds: Bounds) -> Metered:
    """The provider's count, capped where it is absurd; the estimate for what it did not tell, or what the delivered
    content contradicts."""
    if reported is None:
        return estimated(delivered, bounds)
    if not reported.output_tokens and delivered.content_events:
        return estimated(delivered, bounds, (*reported.flags, "output_not_counted"))
    if not reported.input_tokens or reported.output_tokens is None:
        # There is no request without input: a count of none is one that was not made.
        told = estimated(delivered, bounds).usage
        input_tokens = reported.input_tokens or told.input_tokens
        output_tokens = told.output_tokens if reported.output_tokens is None else reported.output_tokens
        source: Literal["provider", "estimated"] = "estimated"
    else:
        input_tokens, output_tokens, source = reported.input_tokens, reported.output_tokens, "provider"
    flags = reported.flags
    if input_tokens > bounds.input_believed_max:
        input_tokens, flags = bounds.input_tokens_max, (*flags, "input_capped")
    if output_tokens > bounds.output_believed_max:
        output_tokens, flags = bounds.output_tokens_max, (*flags, "output_capped")
    usage = _within_totals(reported, input_tokens, output_tokens)
    if (usage.cached_tokens, usage.reasoning_tokens) != (reported.cached_tokens, reported.reasoning_tokens):
        flags = (*flags, "parts_exceed_total")
    return Metered(usage=usage, source=source, flags=flags)


def _within_totals(reported: Reported, input_tokens: int, output_tokens: int) -> Usage:
    """The parts cut to their totals in the order in which prices take them, so that what is stored adds up."""
    cached = min(reported.cached_tokens, input_tokens)
    written = min(reported.cache_write_tokens, input_tokens - cached)
    reasoned = min(reported.reasoning_tokens, output_tokens)
    return Usage(
        input_tokens=input_tokens,
        cached_tokens=cached,
        cache_write_tokens=written,
        input_audio_tokens=min(reported.input_audio_tokens, input_tokens - cached - written),
        output_tokens=output_tokens,
        reasoning_tokens=reasoned,
        output_audio_tokens=min(reported.output_audio_tokens, output_tokens - reasoned),
    )
