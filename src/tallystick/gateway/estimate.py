"""The most a call can use and cost, before it leaves: what the hold must set aside (pure)."""

from msgspec import Struct

from tallystick.catalog.book import Candidate
from tallystick.catalog.price import FlatRates, Usage, rates_at
from tallystick.gateway.chat_request import ChatRequest
from tallystick.gateway.limits import Limits
from tallystick.gateway.meter import Bounds, tokens_of


class Estimate(Struct, frozen=True, kw_only=True, gc=False):
    usage: Usage
    # The limit of each choice, which the call is sent with: more than this was not reserved.
    output_limit: int
    # Nanocredits to hold.
    amount: int


def estimate(request: ChatRequest, candidate: Candidate, max_tokens_default: int | None, limits: Limits) -> Estimate:
    """The dearest this request can become at this candidate; `max_tokens_default` is the caller's own, if any."""
    wanted = request.output_limit or max_tokens_default or limits.max_tokens_default
    return _at(request, candidate, min(wanted, candidate.output_tokens_max or limits.output_tokens_max), limits)


def clamp(request: ChatRequest, candidate: Candidate, whole: Estimate, funds: int, limits: Limits) -> Estimate | None:
    """The largest estimate that `funds` can hold, by a smaller output limit; None where that is not worth a call."""
    least = min(limits.clamp_tokens_min, whole.output_limit)
    best = _at(request, candidate, least, limits)
    if best.amount > funds:
        return None
    fits, too_much = least, whole.output_limit
    while fits + 1 < too_much:
        middle = (fits + too_much) // 2
        tried = _at(request, candidate, middle, limits)
        if tried.amount <= funds:
            best, fits = tried, middle
        else:
            too_much = middle
    return best


def clamp_output(
    request: ChatRequest, candidate: Candidate, whole: Estimate, tokens: int, limits: Limits
) -> Estimate | None:
    """The estimate of a call whose choices together may have `tokens` output tokens; None as for `clamp`."""
    limit = tokens // request.choices
    if limit < min(limits.clamp_tokens_min, whole.output_limit):
        return None
    return _at(request, candidate, min(limit, whole.output_limit), limits)


def bounds(request: ChatRequest, candidate: Candidate, most: Estimate, limits: Limits) -> Bounds:
    """What a provider's count of this call is held against. A provider may add to a conversation (a search, a
    document of its own), so its count is believed up to what the model can read at all."""
    input_tokens_max = _input_tokens(request, candidate, limits, request.text_tokens_max)
    output_tokens_max = most.output_limit * request.choices
    factor = limits.usage_factor_max
    return Bounds(
        input_tokens_max=input_tokens_max,
        input_tokens_likely=_input_tokens(request, candidate, limits, tokens_of(request.text_tokens_max)),
        input_believed_max=max(factor * input_tokens_max, candidate.context_tokens or limits.context_tokens_max),
        output_tokens_max=output_tokens_max,
        output_believed_max=max(factor * output_tokens_max, limits.max_tokens_default * request.choices),
    )


def _input_tokens(request: ChatRequest, candidate: Candidate, limits: Limits, text_tokens: int) -> int:
    """The text, and every image at its model's bound; a model cannot read more than its context, and may read all of
    it where the size of something is not told."""
    if request.elsewhere and text_tokens == request.text_tokens_max:
        return candidate.context_tokens or limits.context_tokens_max
    found = text_tokens
    if request.images:
        found += request.images * (candidate.image_tokens_max or limits.image_tokens_max)
    return min(found, candidate.context_tokens) if candidate.context_tokens else found


def _at(request: ChatRequest, candidate: Candidate, output_limit: int, limits: Limits) -> Estimate:
    input_tokens = _input_tokens(request, candidate, limits, request.text_tokens_max)
    output_tokens = output_limit * request.choices
    rates = candidate.price_rates
    if not rates.tiers:
        usage = _dearest(rates_at(rates, 0), input_tokens, output_tokens, audio=request.audio)
        return Estimate(usage=usage, output_limit=output_limit, amount=candidate.charge(usage))
    # A size of input below the bound can be in a dearer tier than the bound itself.
    sizes = {input_tokens, *(min(tier.above_input_tokens, input_tokens) for tier in rates.tiers)}
    usages = [_dearest(rates_at(rates, size), size, output_tokens, audio=request.audio) for size in sizes]
    usage = max(usages, key=candidate.charge)
    return Estimate(usage=usage, output_limit=output_limit, amount=candidate.charge(usage))


def _dearest(rates: FlatRates, input_tokens: int, output_tokens: int, *, audio: bool) -> Usage:
    """All of the input and all of the output as the kinds that cost most: which they will be is not known yet."""
    plain, cached, written, heard = rates.input, rates.cached_input, rates.cache_write, rates.input_audio
    top_in = max(plain, cached, written, heard if audio else 0)
    top_out = max(rates.output, rates.reasoning, rates.output_audio if audio else 0)
    return Usage(
        input_tokens=input_tokens,
        cached_tokens=input_tokens if plain < cached == top_in else 0,
        cache_write_tokens=input_tokens if plain < written == top_in > cached else 0,
        input_audio_tokens=input_tokens if audio and heard == top_in > max(plain, cached, written) else 0,
        output_tokens=output_tokens,
        reasoning_tokens=output_tokens if rates.output < rates.reasoning == top_out else 0,
        output_audio_tokens=output_tokens
        if audio and rates.output_audio == top_out > max(rates.output, rates.reasoning)
        else 0,
    )
