"""What a plan may say whose usage Stripe bills, so that nothing is billed twice, or told in a way Stripe cannot bill.

Pure. Beside the meters of the catalog such a plan may price the tokens of a provider, at the provider's own rate:
`llm_tokens_openai` are all of them, `llm_input_tokens_openai` and `llm_output_tokens_openai` the two kinds apart.
"""

from collections.abc import Iterator
from typing import Final

from tallystick.catalog.plan import DOLLARS, Plan, PlanMeter

_ALL: Final = "llm_tokens_"
_INPUT: Final = "llm_input_tokens_"
_OUTPUT: Final = "llm_output_tokens_"
_OF_ALL_PROVIDERS: Final = frozenset({"input_tokens", "output_tokens", "llm_inferences"})
# What a model's price in the price book is for: whoever pays that must not pay Stripe for the same.
_OF_MODELS: Final = _OF_ALL_PROVIDERS | {"image_generation"}
# Stripe's unit amounts: cents with twelve decimals.
_STRIPE_STEPS: Final = 10**12
_CENT_NANO: Final = 10**7


def token_meters(provider: str) -> tuple[str, str, str]:
    """A provider's meters: all tokens, input tokens, output tokens."""
    # A provider's name has no underscore, so that no two become the same.
    name = provider.replace("-", "_")
    return f"{_ALL}{name}", f"{_INPUT}{name}", f"{_OUTPUT}{name}"


def is_token_meter(name: str) -> bool:
    """Whether the name is one of a provider's tokens: such a meter is in no catalog and in no gateway's document."""
    return name.startswith((_ALL, _INPUT, _OUTPUT))


def usage_billing_problems(plan: Plan) -> Iterator[str]:
    if plan.usage_billing == "own":
        for meter in plan.meters:
            if is_token_meter(meter.meter):
                yield f'meter {meter.meter}: tokens by provider are billed by Stripe only; say usage_billing = "stripe"'
        return
    if plan.strategy == "prepaid":
        yield "usage_billing: a prepaid plan is paid for from credits; Stripe cannot bill it too"
    elif not plan.billed_by_stripe:
        yield 'usage_billing = "stripe" leaves nothing to report; price a meter with an overage'
    if plan.default:
        yield "usage_billing: a default plan is of those without a subscription, whom Stripe does not bill"
    for meter in plan.meters:
        yield from _meter_problems(plan, meter)
    yield from _twice(plan)


def _meter_problems(plan: Plan, meter: PlanMeter) -> Iterator[str]:
    if is_token_meter(meter.meter) and meter.cap is not None:
        yield f"meter {meter.meter}: cannot have a cap, for it is counted after a call; cap llm_inferences instead"
    if is_token_meter(meter.meter) and meter.price is None:
        yield f"meter {meter.meter}: needs an overage = {{ price, per }}, for it is there to be billed"
    if meter.price is None:
        return
    if meter.meter == DOLLARS:
        yield f"meter {DOLLARS}: Stripe bills no credits; price the tokens of each provider, such as llm_tokens_openai"
    elif meter.price * _STRIPE_STEPS % (meter.per * _CENT_NANO):
        yield f"meter {meter.meter}: overage: the price of one unit needs more decimals than Stripe counts with"
    if plan.charges_models and (meter.meter in _OF_MODELS or is_token_meter(meter.meter)):
        yield f"meter {meter.meter}: models are charged from credits already; Stripe would bill them a second time"


def _twice(plan: Plan) -> Iterator[str]:
    """Two prices for the same tokens."""
    priced = {meter.meter for meter in plan.billed_by_stripe}
    of_provider = sorted(name for name in priced if is_token_meter(name))
    if of_provider and priced & _OF_ALL_PROVIDERS:
        both = f"{of_provider[0]} and {min(priced & _OF_ALL_PROVIDERS)}"
        yield f"{both} count the same tokens, and both have a price; leave one of them out"
    if "llm_inferences" in priced and priced & {"input_tokens", "output_tokens"}:
        yield "llm_inferences and input_tokens or output_tokens count the same tokens; leave one of them out"
    for name in of_provider:
        whole = _ALL + name.removeprefix(_INPUT).removeprefix(_OUTPUT)
        if name != whole and whole in priced:
            yield f"{name} and {whole} count the same tokens, and both have a price; leave one of them out"
