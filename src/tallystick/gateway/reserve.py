"""Before a call leaves: its access, its rates, its claims and its credits, all or nothing.

What it asks for may be made smaller, by a lower limit of output tokens, where that is what there is room for.
"""

from datetime import datetime

from tallystick.base.errors import InsufficientCreditsError, InvalidInput, QuotaExceeded, RateLimited, TallystickError
from tallystick.base.money import AMOUNT_MAX_NANO
from tallystick.catalog.book import Candidate
from tallystick.catalog.plan import DOLLARS
from tallystick.constraints.constraints import Constraints
from tallystick.gateway.call import Call
from tallystick.gateway.estimate import Estimate, clamp, clamp_output
from tallystick.gateway.parts import Parts
from tallystick.gateway.terms import CONCURRENCY, terms_of
from tallystick.reservations.claim import Claim
from tallystick.reservations.hold import OutcomeUnknown, WrongPeriod


async def reserve(parts: Parts, call: Call, constraints: Constraints, candidate: Candidate, most: Estimate) -> Estimate:
    """What is held in the end. Raises AccessDenied, RateLimited, QuotaExceeded, InsufficientCreditsError; then nothing
    has been counted anywhere."""
    if most.amount * parts.limits.usage_factor_max > AMOUNT_MAX_NANO:
        raise InvalidInput(call.request.limit_name or "max_tokens", "asks for more than can be held at this price")
    _set_terms(call, constraints, most, call.at)
    taken = await parts.rates.take(
        constraints.organization, constraints.rates, most.usage.input_tokens + most.usage.output_tokens
    )
    try:
        most = await _fit(parts, call, constraints, candidate, most)
    except OutcomeUnknown:
        parts.settlements.release_later(call.id, call.caller.account)
        raise
    except TallystickError:
        await parts.rates.give_back(taken)
        raise
    call.rate_headers = taken.headers
    return most


async def _fit(parts: Parts, call: Call, constraints: Constraints, candidate: Candidate, most: Estimate) -> Estimate:
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
                raise RateLimited(f"{refusal.limit} requests at a time are in your plan, not more.", 1) from refusal
            smaller = _smaller(parts, call, candidate, most, refusal)
            if smaller is None or smaller.output_limit >= most.output_limit:
                raise
            most = smaller
        else:
            return most
        _set_terms(call, constraints, most, at)


async def _place(parts: Parts, call: Call, amount: int) -> None:
    account, seconds, dispatcher = call.caller.account, parts.limits.hold_s, parts.journal.dispatcher
    if call.terms.claims:
        call.admitted = await parts.lanes.admit(
            call.id, account, amount, call.terms.claims, expires_in_s=seconds, dispatcher=dispatcher
        )
    else:
        await parts.lanes.reserve(call.id, account, amount, expires_in_s=seconds, dispatcher=dispatcher)


def _set_terms(call: Call, constraints: Constraints, most: Estimate, at: datetime) -> None:
    call.terms = terms_of(constraints, call.request.model, None, most.usage, most.amount, at)


def _smaller(
    parts: Parts, call: Call, candidate: Candidate, most: Estimate, refusal: InsufficientCreditsError | QuotaExceeded
) -> Estimate | None:
    """The largest call that what refused this one leaves room for; None where a smaller one is no way out."""
    if isinstance(refusal, InsufficientCreditsError):
        if any(isinstance(claim, Claim) and claim.price for claim in call.terms.claims):
            return None
        return clamp(call.request, candidate, most, refusal.balance_nano, parts.limits)
    if refusal.name == DOLLARS:
        return clamp(call.request, candidate, most, refusal.remaining, parts.limits)
    if refusal.name == "output_tokens":
        return clamp_output(call.request, candidate, most, refusal.remaining, parts.limits)
    return None
