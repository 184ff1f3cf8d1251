"""Plans whose usage Stripe bills: what they may price, and every way to bill the same thing twice is refused."""

import re

import pytest

from tallystick.catalog.errors import CatalogError
from tallystick.catalog.file import parse
from tallystick.catalog.plan import Plan

PROVIDERS = "".join(
    f'[[provider]]\nname = "{name}"\nbase_url = "https://api.example.com/v1"\n' for name in ("openai", "azure-openai")
)
HEAD = '[[plan]]\nslug = "p"\nname = "P"\nprice = 29\nusage_billing = "stripe"\n'
CUSTOM = 'strategy = "custom"\ncharges_models = false\n'
PRICE = "overage = { price = 2, per = 1_000_000 }"


def meters(*names: str) -> str:
    return "meters = [" + ", ".join(f'{{ meter = "{name}", {PRICE} }}' for name in names) + "]\n"


def read(lines: str) -> Plan:
    ((wanted,),) = parse(PROVIDERS + HEAD + lines)["plan"].values()
    assert isinstance(wanted.document, Plan)
    return wanted.document


def test_what_stripe_bills_are_the_meters_with_a_price() -> None:
    plan = read(
        CUSTOM + 'meters = [{ meter = "requests", cap = 10 }, { meter = "agent_sessions", allowance = 5, '
        'overage = { price = 0.5 } }, { meter = "llm_tokens_azure_openai", overage = { price = 1, per = 1_000_000 } }]'
    )
    assert [meter.meter for meter in plan.billed_by_stripe] == ["agent_sessions", "llm_tokens_azure_openai"]


def test_our_own_ledger_bills_where_nothing_is_said() -> None:
    text = PROVIDERS + HEAD.replace('usage_billing = "stripe"\n', "") + CUSTOM + meters("agent_sessions")
    ((wanted,),) = parse(text)["plan"].values()
    assert isinstance(wanted.document, Plan)
    assert wanted.document.usage_billing == "own"
    assert wanted.document.billed_by_stripe == ()


def test_what_stripe_bills_is_never_owed_here() -> None:
    assert read('strategy = "overage"\nmeters = [{ meter = "agent_sessions", allowance = 5, overage = { price = 1 } }]')


@pytest.mark.parametrize(
    ("lines", "problem"),
    [
        ('strategy = "flat"', 'usage_billing = "stripe" leaves nothing to report'),
        (CUSTOM + 'meters = [{ meter = "requests", cap = 1 }]', 'usage_billing = "stripe" leaves nothing to report'),
        ('strategy = "prepaid"\n' + meters("runs_x"), "usage_billing: a prepaid plan is paid for from credits"),
        (
            CUSTOM + 'meters = [{ meter = "dollars", overage = { price = 1 } }]',
            "meter dollars: Stripe bills no credits",
        ),
        (CUSTOM + "default = true\n" + meters("agent_sessions"), "usage_billing: a default plan is of those without"),
        (CUSTOM + meters("llm_tokens_nobody"), "there is no meter llm_tokens_nobody"),
        (CUSTOM + meters("llm_tokens_openai", "llm_inferences"), "llm_tokens_openai and llm_inferences count the same"),
        (
            CUSTOM + meters("llm_tokens_openai", "llm_input_tokens_openai"),
            "llm_input_tokens_openai and llm_tokens_open",
        ),
        (CUSTOM + meters("llm_inferences", "input_tokens"), "llm_inferences and input_tokens or output_tokens count"),
        (
            CUSTOM + 'meters = [{ meter = "llm_tokens_openai", cap = 9, overage = { price = 1 } }]',
            "meter llm_tokens_openai: cannot have a cap",
        ),
        (
            CUSTOM + 'meters = [{ meter = "llm_tokens_openai", allowance = 9 }, '
            '{ meter = "requests", overage = { price = 1 } }]',
            "meter llm_tokens_openai: needs an overage",
        ),
        (
            CUSTOM + 'meters = [{ meter = "requests", overage = { price = 0.01, per = 3 }, cap = 1000 }]',
            "meter requests: overage: the price of one unit needs more decimals than Stripe counts with",
        ),
        (
            'strategy = "custom"\ncharges_models = true\n' + meters("llm_tokens_openai"),
            "meter llm_tokens_openai: models are charged from credits already",
        ),
        (
            'strategy = "payg"\ncredit_limit = 5\n' + meters("llm_inferences"),
            "meter llm_inferences: models are charged from credits already",
        ),
    ],
)
def test_what_would_bill_twice_or_not_at_all_is_refused(lines: str, problem: str) -> None:
    with pytest.raises(CatalogError) as raised:
        read(lines)
    assert any(re.match(f"plan p: {re.escape(problem)}", found) for found in raised.value.problems)


def test_tokens_by_provider_are_billed_by_stripe_only() -> None:
    with pytest.raises(CatalogError) as raised:
        parse(PROVIDERS + HEAD.replace('"stripe"', '"own"') + CUSTOM + meters("llm_tokens_openai"))
    assert "tokens by provider are billed by Stripe only" in raised.value.message


def test_no_meter_of_ones_own_has_the_name_of_a_providers_tokens() -> None:
    with pytest.raises(CatalogError) as raised:
        parse('[[meter]]\nname = "llm_tokens_mine"\ntitle = "T"\nunit = "t"\naggregation = "sum"\n')
    assert "is a provider's" in raised.value.message
