"""Before a call leaves: its access, its rates, its claims and its credits, all or nothing.

What it asks for may be made smaller, by a lower limit of output tokens, where that is what there is room for.
"""

from typing import Final

from tallystick.base.errors import InsufficientCreditsError, InvalidInput, QuotaExceeded, TallystickError
from tallystick.base.money import AMOUNT_MAX_NANO
from tallystick.catalog.book import Candidate
from tallystick.catalog.plan import CONCURRENCY, DOLLARS
from tallystick.constraints.constraints import Constraints
from tallystick.gateway.call import Call
from tallystick.gateway.estimate import Estimate, clamp, clamp_output
from tallystick.gateway.parts import Parts
from tallystick.gateway.terms import terms_of
from tallystick.gateway.wire import TooFast
from tallystick.reservations.claim import Claim
from tallystick.reservations.hold import OutcomeUnknown, WrongPeriod

_OUTPUT: Final = "output_tokens"


async def reserve(parts: Parts, call: Call, constraints: Constraints, candidate: Candidate, most: Estimate) -> Estimate:
    """What is held in the end. Raises AccessDenied, TooFast, QuotaExceeded, InsufficientCreditsError; then nothing
    has been counted anywhere."""
    if most.amount * parts.limits.usage_factor_max > AMOUNT_MAX_NANO:
        raise InvalidInput(call.request.limit_name or "max_tokens", "asks for more than can be held at this price")
    feature = parts.book().feature(call.request.model, call.at)
    call.terms = terms_of(constraints, call.request.model, feature, most.usage, most.amount, call.at)
    taken = await parts.rates.take(
        constraints.organization, constraints.rates, most.usage.input_tokens + most.usage.output_tokens
    )
    try:
        most = await _fit(parts, call, constraints, feature, candidate, most)
    except TallystickError as error:
        if isinstance(error, OutcomeUnknown):
            parts.settlements.release_later(call.id, call.caller.account)
        if isinstance(error, QuotaExceeded):
            parts.exceeded.tell(constraints, error, call.at)
        await parts.rates.give_back(taken)
        raise
    call.rate_headers = taken.headers
    return most


async def _fit(
    parts: Parts, call: Call, constraints: Constraints, feature: str | None, candidate: Candidate, most: Estimate
) -> Estimate:
    at = call.at
    while True:
        try:
            await _place(parts, call, most.amount if constraints.charges_models else 0)
        except WrongPeriod as wrong:
            if at == wrong.now:
                raise
            at = wrong.now
        except (InsufficientCreditsError, QuotaExceeded) as refusal:
            if isinstance(refusal, QuotaExceeded) and refusal.name == CONCURRENCY:
                raise _too_many(refusal) from refusal
            smaller = _smaller(parts, call, constraints, candidate, most, refusal)
            if smaller is None or smaller.output_limit >= most.output_limit:
                raise
            most = smaller
        else:
            return most
        call.terms = terms_of(constraints, call.request.model, feature, most.usage, most.amount, at)


async def _place(parts: Parts, call: Call, amount: int) -> None:
    account, seconds, dispatcher = call.caller.account, parts.limits.hold_s, parts.journal.dispatcher
    if call.terms.claims:
        call.admitted = await parts.lanes.admit(
            call.id, account, amount, call.terms.claims, expires_in_s=seconds, dispatcher=dispatcher
        )
    else:
        await parts.lanes.reserve(call.id, account, amount, expires_in_s=seconds, dispatcher=dispatcher)


def _too_many(refusal: QuotaExceeded) -> TooFast:
    limit, used = refusal.limit, refusal.used
    message = f"Your plan allows {limit} requests at a time."
    return TooFast(message, name=CONCURRENCY, limit=limit, used=used, retry_after=1)


def _smaller(
    parts: Parts,
    call: Call,
    constraints: Constraints,
    candidate: Candidate,
    most: Estimate,
    refusal: InsufficientCreditsError | QuotaExceeded,
) -> Estimate | None:
    """The largest call that what refused this one can leave room for; None where a smaller one is no way out."""
    if isinstance(refusal, QuotaExceeded):
        meter, units = refusal.name, refusal.remaining
    else:
        meter, units = _affordable(call, constraints, refusal)
    if meter == DOLLARS:
        return clamp(call.request, candidate, most, units, parts.limits)
    if meter == _OUTPUT:
        return clamp_output(call.request, candidate, most, units, parts.limits)
    return None


def _affordable(call: Call, constraints: Constraints, refusal: InsufficientCreditsError) -> tuple[str, int]:
    """What money can pay: of which meter, how many units."""
    priced = [claim for claim in call.terms.claims if isinstance(claim, Claim) and claim.price]
    if constraints.charges_models and not priced:
        return DOLLARS, refusal.balance_nano
    if constraints.charges_models or len(priced) != 1:
        return "", 0
    # What is lacking buys so many units too much, where all of them lie beyond the allowance. Where some do not, fewer
    # are paid for, and the next refusal tells.
    (claim,) = priced
    lacking = refusal.required_nano - refusal.balance_nano
    return claim.meter, claim.units - -(-lacking * claim.per // claim.price)
