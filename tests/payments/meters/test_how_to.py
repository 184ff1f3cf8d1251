"""docs/how-to/metered-usage.md: its catalog is one, and it names every cause of a difference."""

import re
from pathlib import Path
from typing import get_args

from tallystick.catalog.file import parse
from tallystick.catalog.plan import Plan
from tallystick.payments.meters.bucket import FINALIZES, SETTLES
from tallystick.payments.meters.compare import Cause

HOW_TO = (Path(__file__).parents[3] / "docs" / "how-to" / "metered-usage.md").read_text()


def test_its_plan_is_billed_by_stripe() -> None:
    (catalog,) = re.findall(r"```toml\n(.*?)```", HOW_TO, re.DOTALL)
    ((wanted,),) = parse(catalog)["plan"].values()
    assert isinstance(wanted.document, Plan)
    assert [meter.meter for meter in wanted.document.billed_by_stripe] == ["agent_sessions", "llm_tokens_openai"]


def test_every_cause_is_explained() -> None:
    rows = re.findall(r"^\| (`.*?) \|", HOW_TO, re.MULTILINE)
    assert sorted(re.findall(r"`(\w+)`", " ".join(rows))) == sorted(get_args(Cause))


def test_its_times_are_the_real_ones() -> None:
    assert SETTLES.total_seconds() == 2 * 60
    assert "Two minutes after an hour" in HOW_TO
    assert f"{FINALIZES.total_seconds() / 60:g} minutes after its period's end" in HOW_TO
