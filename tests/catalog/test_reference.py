"""docs/reference/catalog.md names exactly the tables and keys that a catalog file may hold, with their defaults."""

import re
import tomllib
from decimal import Decimal
from pathlib import Path
from typing import get_args

import msgspec
import pytest

from tallystick.catalog.file import parse
from tallystick.catalog.meters import BUILT_IN
from tallystick.catalog.plan import Strategy
from tallystick.catalog.price import Usage, amount
from tallystick.catalog.rates import read_markup, read_rates
from tallystick.catalog.tables import (
    TABLES,
    CandidateTable,
    CostProfileTable,
    CredentialTable,
    FallbackTable,
    OverageTable,
    PlanMeterTable,
    PlanRatesTable,
    RatesTable,
    Table,
    TierTable,
)

DOCS = Path(__file__).parents[2] / "docs"
REFERENCE = (DOCS / "reference" / "catalog.md").read_text()
NESTED: dict[str, type[Table]] = {
    "provider.credential": CredentialTable,
    "cost_profile.tiers": TierTable,
    "route.candidates": CandidateTable,
    "route.fallback": FallbackTable,
    "plan.meters": PlanMeterTable,
    "plan.meters.overage": OverageTable,
    "plan.rates": PlanRatesTable,
}
DOCUMENTED = TABLES | NESTED


def section(name: str) -> str:
    found = re.search(rf"^##+ {re.escape(name)}\n(.*?)(?=^##|\Z)", REFERENCE, re.MULTILINE | re.DOTALL)
    assert found, f"docs/reference/catalog.md has no section {name}"
    return found.group(1)


@pytest.mark.parametrize("name", DOCUMENTED)
def test_every_key_is_explained_with_its_default(name: str) -> None:
    rows = re.findall(r"^\| `(\w+)` \| (.*?) \| .{10,} \|$", section(name), re.MULTILINE)
    documented = dict(rows)
    assert len(rows) == len(documented)
    fields = {field.name: field for field in msgspec.structs.fields(DOCUMENTED[name])}
    assert documented.keys() == fields.keys()
    for key, default in documented.items():
        assert (default == "required") == fields[key].required, key
        if default.startswith("`") and not default.startswith("`[") and " " not in default:
            written = tomllib.loads(f"x = {default.strip('`')}")["x"]
            assert written == fields[key].default, key


def test_no_table_is_explained_that_does_not_exist() -> None:
    titles = set(re.findall(r"^##+ (.+)$", REFERENCE, re.MULTILINE))
    assert titles - {"Dates", "Strategies", "markup"} == set(DOCUMENTED)


def test_every_strategy_is_explained() -> None:
    assert tuple(re.findall(r"^\| `(\w+)` \|", section("Strategies"), re.MULTILINE)) == get_args(Strategy)


def test_every_built_in_meter_is_named() -> None:
    assert set(BUILT_IN) <= set(re.findall(r"`(\w+)`", section("meter").split("|")[0]))


def test_every_nested_table_is_known_here() -> None:
    known = {table.__name__ for table in DOCUMENTED.values()}
    assert {table.__name__ for table in Table.__subclasses__()} - {RatesTable.__name__} <= known


def test_the_prices_in_the_how_to_are_valid_and_its_sum_is_right() -> None:
    how_to = (DOCS / "how-to" / "prices.md").read_text()
    (example,) = re.findall(r"```toml\n(.*?)```", how_to, re.DOTALL)
    assert parse(example + '[[provider]]\nname = "openai"\nbase_url = "https://api.openai.com/v1"\n')["price"]
    table = CostProfileTable(
        provider="p", model="m", input=Decimal("0.15"), cached_input=Decimal("0.075"), output=Decimal("0.60")
    )
    rates = read_rates(table, "")
    usage = Usage(input_tokens=1200, cached_tokens=1024, output_tokens=300)
    assert f"= {Decimal(amount(rates, usage)).scaleb(-9):f}".rstrip("0") in how_to
    charge = amount(rates, usage, read_markup(Decimal("1.25"), ""))
    assert f"= {Decimal(charge).scaleb(-9):f}".rstrip("0") in how_to


def test_the_catalog_in_the_readme_is_valid() -> None:
    (example,) = re.findall(r"```toml\n(.*?)```", (DOCS.parent / "README.md").read_text(), re.DOTALL)
    assert list(parse(example)["provider"]) == ["openai"]
