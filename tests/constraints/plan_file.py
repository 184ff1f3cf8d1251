"""Plans written as in a catalog file, and the constraints that become of them."""

from datetime import UTC, datetime
from pathlib import Path

from tallystick.catalog.file import parse
from tallystick.catalog.plan import Feature, Plan
from tallystick.constraints.compile import compile_constraints
from tallystick.constraints.constraints import Constraints
from tallystick.constraints.subscriber import Overrides, Subscriber

EXAMPLE = (Path(__file__).parents[2] / "examples" / "catalog.toml").read_text()
START = datetime(2026, 1, 31, 8, tzinfo=UTC)
NOW = datetime(2026, 3, 10, 12, tzinfo=UTC)
CREDIT = 10**9
ADS = Feature(name="ads", title="Ads", limits={"free": 10, "pro": 100, "enterprise": None})


def read_plan(lines: str) -> Plan:
    """The plan of a file that says this; its slug, name and price are given where it leaves them out."""
    written = {line.split(" = ")[0] for line in lines.splitlines()}
    given = {"slug": '"p"', "name": '"P"', "price": "29"}
    head = "".join(f"{key} = {value}\n" for key, value in given.items() if key not in written)
    ((wanted,),) = parse(f"[[plan]]\n{head}{lines}")["plan"].values()
    assert isinstance(wanted.document, Plan)
    return wanted.document


def example_plan(slug: str) -> Plan:
    (wanted,) = parse(EXAMPLE)["plan"][slug]
    assert isinstance(wanted.document, Plan)
    return wanted.document


def subscriber(plan: Plan, status="active", past_due_since=None, overrides=None) -> Subscriber:
    return Subscriber(
        plan=plan,
        plan_version=7,
        status=status,
        anchor=START,
        past_due_since=past_due_since,
        overrides=overrides or Overrides(),
    )


def constraints(plan: Plan, now: datetime = NOW, features=(ADS,), **known) -> Constraints:
    return compile_constraints("org_1", 42, subscriber(plan, **known), features, version=3, now=now)
