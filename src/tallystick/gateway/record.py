"""What is written down about a call, and what it is charged: usage times price, where the policy says so (pure)."""

from tallystick.catalog.book import Candidate
from tallystick.gateway.call import Call
from tallystick.gateway.estimate import Estimate
from tallystick.gateway.journal import Dispatched
from tallystick.gateway.meter import Metered
from tallystick.gateway.outcome import Basis, Outcome, Policy
from tallystick.gateway.terms import COVERED, units_used
from tallystick.reservations.usage_record import UsageRecord

ENDPOINT = "chat.completions"


def usage_record(
    call: Call, candidate: Candidate, most: Estimate, metered: Metered, outcome: Outcome, policy: Policy, status: int
) -> tuple[UsageRecord, tuple[int, ...] | None]:
    """The row that ends the hold, and what was used of each of its claims; None where these are given back.

    The charge can be recomputed from the row's own fields and the versions it names. What units beyond allowances cost
    is added by the ledger, which alone knows how many were used before.
    """
    usage, terms = metered.usage, call.terms
    told = metered.source != "none"
    charged = told and policy[outcome].basis is Basis.USAGE
    worth = candidate.charge(usage) if charged else 0
    rule = (outcome.value, *metered.flags) if terms.charges_models else (outcome.value, *metered.flags, COVERED)
    units = units_used(terms.meters, usage, worth) if charged and terms.claims else None
    record = UsageRecord(
        id=call.id,
        account=call.caller.account,
        api_key=call.caller.key,
        endpoint=ENDPOINT,
        alias=call.request.model,
        provider=candidate.provider,
        model=candidate.model,
        stream=call.request.stream,
        input_tokens=usage.input_tokens,
        cached_tokens=usage.cached_tokens,
        cache_write_tokens=usage.cache_write_tokens,
        output_tokens=usage.output_tokens,
        reasoning_tokens=usage.reasoning_tokens,
        input_audio_tokens=usage.input_audio_tokens,
        output_audio_tokens=usage.output_audio_tokens,
        images=usage.images,
        usage_source=metered.source,
        cost_id=candidate.cost_id,
        price_id=candidate.price_id,
        cost=candidate.cost(usage) if told else 0,
        charge=worth if terms.charges_models else 0,
        reserved=_reserved(call, most),
        outcome=outcome.value,
        rule="+".join(rule),
        status=status,
        upstream_id=call.delivery.upstream_id,
        attempts=1,
        latency_ms=call.elapsed_ms(),
        first_byte_ms=call.delivery.first_byte_ms,
    )
    return record, units


def dispatched(call: Call, candidate: Candidate, most: Estimate) -> Dispatched:
    """What the journal must know of a call that is about to leave."""
    return Dispatched(
        hold=call.id,
        account=call.caller.account,
        api_key=call.caller.key,
        endpoint=ENDPOINT,
        alias=call.request.model,
        provider=candidate.provider,
        model=candidate.model,
        stream=call.request.stream,
        cost_id=candidate.cost_id,
        price_id=candidate.price_id,
        reserved=_reserved(call, most),
        usage=most.usage,
        meters=call.terms.meters,
        covered=not call.terms.charges_models,
    )


def _reserved(call: Call, most: Estimate) -> int:
    if call.admitted is not None:
        return call.admitted.amount
    return most.amount if call.terms.charges_models else 0
