"""docs/how-to/plans.md: its catalog is applied, the difference it prints is said, its table is what happens."""

import re
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import get_args

import asyncpg
import pytest
from plan_file import NOW, constraints

from tallystick.base.money import parse_amount
from tallystick.catalog.file import parse
from tallystick.catalog.plan import DOLLARS, Plan, Strategy
from tallystick.catalog.publish import apply
from tallystick.constraints.verdict import Balance, Claims, Counters, Request, claims, decide, price_between

HOW_TO = (Path(__file__).parents[2] / "docs" / "how-to" / "plans.md").read_text()
CATALOG = "\n".join(re.findall(r"```toml\n(.*?)```", HOW_TO, re.DOTALL))
PLANS = {
    slug: wanted.document for slug, (wanted,) in parse(CATALOG)["plan"].items() if isinstance(wanted.document, Plan)
}
ROWS = re.findall(
    r"^\| (\w+) \| ([\d,.]+) (\w+) \| ([\d.]+) \| ([\d.]+) \| (admitted|refused): (\w+) \| ([\d.]+) \|$",
    HOW_TO,
    re.MULTILINE,
)
REQUEST = Request(amount=2_000_000, units={"requests": 1})


def nano(text: str) -> int:
    return 0 if text == "0" else parse_amount(Decimal(text))


def units(text: str, meter: str) -> int:
    return nano(text) if meter == DOLLARS else int(text.replace(",", ""))


@pytest.mark.parametrize(("slug", "used", "meter", "bought", "owed", "answer", "layer", "charged"), ROWS)
def test_the_table_is_what_happens(slug, used, meter, bought, owed, answer, layer, charged) -> None:
    rules, before = constraints(PLANS[slug]), units(used, meter)
    balance = Balance(purchased=nano(bought) - nano(owed))
    verdict = decide(rules, Counters(meters={meter: before}), balance, REQUEST, NOW)
    assert (verdict.admitted, verdict.layer) == (answer == "admitted", layer)
    wanted = claims(rules, REQUEST, NOW)
    assert isinstance(wanted, Claims)
    due = wanted.amount
    for claim in wanted.meters:
        start = before if claim.constraint.meter == meter else 0
        due += price_between(claim.constraint, start, start + claim.units)
    assert (due if verdict.admitted else 0) == nano(charged)


def test_the_table_has_every_plan_of_the_page() -> None:
    assert {row[0] for row in ROWS} == set(PLANS)
    assert len(ROWS) == HOW_TO.count("| admitted: ") + HOW_TO.count("| refused: ")


def test_every_strategy_is_on_the_page() -> None:
    table = HOW_TO.split("## 1.")[1].split("\n\n")[1]
    assert tuple(re.findall(r"^\| `(\w+)`", table, re.MULTILINE)) == get_args(Strategy)
    assert {plan.strategy for plan in PLANS.values()} == set(get_args(Strategy))


async def test_applying_says_what_the_page_says(pool: asyncpg.Pool) -> None:
    (said,) = re.findall(r"```\n(~ plan .*?)\n```", HOW_TO)
    async with pool.acquire() as connection:
        await apply(connection, CATALOG, now=NOW)
        changed = CATALOG.replace("allowance = 100_000", "allowance = 120_000")
        assert (await apply(connection, changed, now=datetime(2026, 4, 1, tzinfo=UTC))).lines() == [said]
