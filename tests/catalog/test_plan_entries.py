"""Plans, meters and features of a file: exact units, the promise of each strategy, every mistake in one sentence."""

import random
import re
from pathlib import Path

import pytest

from tallystick.catalog.document import EntryKind, decode, encode
from tallystick.catalog.errors import CatalogError
from tallystick.catalog.file import parse
from tallystick.catalog.plan import Feature, Meter, Plan, PlanMeter, PlanRates

EXAMPLE = (Path(__file__).parents[2] / "examples" / "catalog.toml").read_text()
FEATURE = '[[feature]]\nname = "ads"\ntitle = "Ads"\nlimits = { free = 10, pro = 100, enterprise = "unlimited" }\n'
METER = '[[meter]]\nname = "seconds"\ntitle = "Seconds"\nunit = "second"\naggregation = "sum"\n'
CUSTOM = 'strategy = "custom"\ncharges_models = false\n'
FLAT = 'strategy = "flat"\n'
OVERAGE = 'strategy = "overage"\ncredit_limit = 5\n'
ALLOWED = 'meters = [{ meter = "requests", allowance = 10 }]\n'
SOLD = 'meters = [{ meter = "requests", allowance = 10, overage = { price = 1 } }]\n'


def plan(lines: str, slug: str = "p") -> str:
    price = "" if re.search("^price = ", lines, re.MULTILINE) else "price = 29\n"
    return f'[[plan]]\nslug = "{slug}"\nname = "P"\n{price}{lines}'


def only(text: str, kind: EntryKind = "plan", name: str = "p") -> object:
    (wanted,) = parse(text)[kind][name]
    return wanted.document


def problems(text: str) -> tuple[str, ...]:
    with pytest.raises(CatalogError) as raised:
        parse(text)
    return raised.value.problems


def test_a_plan_that_says_little() -> None:
    assert only(plan(FLAT)) == Plan(
        slug="p",
        name="P",
        strategy="flat",
        amount_minor=2900,
        currency="usd",
        interval="month",
        tier="free",
        charges_models=False,
    )


def test_a_plan_that_says_everything() -> None:
    text = plan(
        'price = 0.00\nstrategy = "payg"\ncurrency = "USD"\ninterval = "year"\ntier = "pro"\n'
        'quotas = { ads = "unlimited" }\n'
        'features = ["sso"]\nroutes = ["fast"]\nauth_modes = ["byok", "credits"]\ncredit_limit = 100.5\n'
        "overdraft = 0.000000001\ndefault_max_tokens = 1024\ntrial_days = 14\ngrace_days = 0\ndefault = true\n"
        'stripe_price = "price_1"\n'
        "rates = { requests_per_minute = 60, tokens_per_minute = 100_000, concurrency = 10 }\n"
        'meters = [{ meter = "seconds", cap = 5, overage = { price = 0.50, per = 1_000 } }]\n',
    )
    route = '[[route]]\nalias = "fast"\ncandidates = [{ provider = "a", model = "m" }]\n'
    assert only(METER + FEATURE + route + text) == Plan(
        slug="p",
        name="P",
        strategy="payg",
        amount_minor=0,
        currency="usd",
        interval="year",
        tier="pro",
        meters=(PlanMeter(meter="seconds", cap=5, price=500_000_000, per=1000),),
        charges_models=True,
        quotas={"ads": None},
        features=("sso",),
        rates=PlanRates(requests_per_minute=60, tokens_per_minute=100_000, concurrency=10),
        routes=("fast",),
        auth_modes=("byok", "credits"),
        credit_limit=100_500_000_000,
        overdraft=1,
        default_max_tokens=1024,
        trial_days=14,
        grace_days=0,
        default=True,
        stripe_price="price_1",
    )


def test_dollars_are_written_in_credits_and_kept_in_nanocredits() -> None:
    meter = '{ meter = "dollars", allowance = 20.5, cap = 100, overage = { price = 1.1, per = 2 } }'
    found = only(plan(f"{CUSTOM}meters = [{meter}]"))
    assert isinstance(found, Plan)
    assert found.meters == (
        PlanMeter(meter="dollars", allowance=20_500_000_000, cap=100 * 10**9, price=1_100_000_000, per=2 * 10**9),
    )


def test_a_feature_and_a_meter() -> None:
    assert only(FEATURE, "feature", "ads") == Feature(
        name="ads", title="Ads", limits={"free": 10, "pro": 100, "enterprise": None}
    )
    assert only(METER, "meter", "seconds") == Meter(name="seconds", title="Seconds", unit="second", aggregation="sum")


@pytest.mark.parametrize("kind", ["plan", "feature", "meter"])
def test_a_stored_document_reads_back_as_it_was(kind: EntryKind) -> None:
    for (wanted,) in parse(EXAMPLE)[kind].values():
        assert decode(kind, encode(wanted.document)) == wanted.document


def test_a_field_that_an_old_document_lacks_has_its_default() -> None:
    text = encode(parse(plan(FLAT))["plan"]["p"][0].document)
    assert '"grace_days":7,' in text
    assert decode("plan", text.replace('"grace_days":7,', "")) == only(plan(FLAT))


@pytest.mark.parametrize(
    ("lines", "problem"),
    [
        (FLAT + "price = 5.001", "price has more than 2 decimals"),
        (FLAT + "price = -1", "price must not be negative"),
        (FLAT + "price = nan", "price must be a finite number"),
        (FLAT + "price = 1e20", "price is too large"),
        (
            FLAT + 'currency = "jpy"',
            "currency is jpy, and the books are in usd alone: give the price in it and leave currency out",
        ),
        (FLAT + 'interval = "week"', "interval: invalid enum value 'week'"),
        ('strategy = "free"', "strategy: invalid enum value 'free'; it is one of flat, included, overage"),
        (FLAT + 'auth_modes = ["metered"]', "auth_modes[0]: invalid enum value 'metered'; it is one of credits, byok"),
        (FLAT + "auth_modes = []", "auth_modes must name one of credits, byok"),
        (FLAT + 'auth_modes = ["byok", "byok"]', "auth_modes names byok twice"),
        (FLAT + "routes = []", "routes must name a route; without it all may be called"),
        (FLAT + 'routes = ["slow"]', "there is no route slow"),
        (FLAT + 'tier = "por"', "there is no tier por; known are enterprise, free, pro"),
        (FLAT + "quotas = { add = 1 }", "quotas: there is no feature add"),
        (FLAT + "quotas = { ads = -1 }", 'quotas: ads must be between 0 and 1000000000000000, or "unlimited"'),
        (FLAT + 'quotas = { ads = "none" }', "quotas[...]: invalid enum value 'none'"),
        (FLAT + 'features = ["SSO"]', "features: SSO must be lower-case letters, digits and '_', a letter first"),
        (FLAT + "rates = { concurrency = 0 }", "rates: concurrency must be between 1 and 1000000000"),
        (FLAT + "rates = { per_minute = 1 }", "rates: there is no field `per_minute`"),
        (FLAT + "default_max_tokens = 0", "default_max_tokens must be between 1 and 1000000000"),
        (FLAT + "trial_days = -1", "trial_days must be between 0 and 730"),
        (FLAT + "grace_days = 731", "grace_days must be between 0 and 730"),
        (FLAT + "overdraft = -1", "overdraft must not be negative"),
        (FLAT + 'stripe_price = ""', "stripe_price must be an id of Stripe's"),
        (FLAT + "default = true", "a default plan must have price = 0, for nobody is billed for it"),
        (FLAT + "credit_limit = 1", "credit_limit: flat plans sell nothing beyond their price"),
        (FLAT + ALLOWED, "meter requests: a flat plan has caps only, no allowance and no overage"),
        (FLAT + "charges_models = true", "charges_models is decided by the strategy flat; only payg and custom"),
        ('strategy = "included"', "an included plan needs a [[plan.meters]]"),
        ('strategy = "included"\n' + SOLD, "meter requests: an included plan ends at its allowance; it has no cap"),
        ('strategy = "included"\ncredit_limit = 1\n' + ALLOWED, "credit_limit: included plans sell nothing beyond"),
        (OVERAGE, "an overage plan needs a [[plan.meters]]"),
        (OVERAGE + ALLOWED, "meter requests: an overage plan needs an overage = { price, per }"),
        (OVERAGE + SOLD.replace("allowance = 10, ", ""), "meter requests: an overage plan needs an allowance"),
        ('strategy = "overage"\n' + SOLD, "credit_limit must say what may be owed before a request is refused, as"),
        ('strategy = "payg"', "credit_limit must say what may be owed before a request is refused, as payg is"),
        ('strategy = "payg"\ncredit_limit = 1\n' + SOLD, "meter requests: a payg plan bills every unit; it has no"),
        (
            'strategy = "payg"\ncredit_limit = 1\ncharges_models = false',
            "charges_models = false leaves nothing to bill",
        ),
        ('strategy = "prepaid"\ncredit_limit = 1', "credit_limit: a prepaid plan gives no credit"),
        ('strategy = "prepaid"\n' + ALLOWED, "meter requests: a prepaid plan includes nothing; it has no allowance"),
        ('strategy = "custom"', "charges_models must say whether models are charged by the price book (true) or paid"),
    ],
)
def test_mistakes_of_a_plan_are_one_sentence(lines: str, problem: str) -> None:
    (found,) = problems(FEATURE + plan(lines))
    assert found.startswith(f"plan p: {problem}")


@pytest.mark.parametrize(
    ("meter", "problem"),
    [
        ('meter = "request", cap = 1', "there is no meter request; known are agent_sessions, document_page, dollars"),
        ('meter = "requests"', "meter requests: needs an allowance, a cap or an overage, for it says nothing yet"),
        ('meter = "requests", allowance = -1', "meter requests: allowance must not be negative"),
        ('meter = "requests", allowance = 0.5', "meter requests: allowance must be a whole number"),
        ('meter = "requests", allowance = 1e-99999999', "meter requests: allowance must be a whole number"),
        ('meter = "requests", cap = 1e999999999', "meter requests: cap is too large"),
        ('meter = "requests", cap = 1_000_000_000_000_001', "meter requests: cap is too large"),
        ('meter = "requests", cap = inf', "meter requests: cap must be a finite number"),
        ('meter = "dollars", cap = 1_000_000.01', "meter dollars: cap is too large"),
        ('meter = "dollars", cap = 0.0000000001', "meter dollars: cap has more than 9 decimals"),
        ('meter = "requests", allowance = 10, cap = 9', "meter requests: cap must not be below the allowance"),
        ('meter = "requests", allowance = 10, cap = 11', "meter requests: what lies between allowance and cap has no"),
        (
            'meter = "requests", allowance = 10, cap = 10, overage = { price = 1 }',
            "meter requests: the cap leaves nothing to sell beyond the allowance; raise it, or leave the overage out",
        ),
        ('meter = "requests", overage = { price = 1, per = 0 }', "meter requests: overage: per must be between 1 and"),
        ('meter = "requests", overage = { price = 0 }', "meter requests: overage: price must be greater than zero"),
        ('meter = "requests", overage = { per = 1 }', "meters[0].overage: is missing required field `price`"),
        (
            'meter = "requests", overage = { price = 0.0000000001 }',
            "meter requests: overage: price has more than 9 decimals",
        ),
        (
            'meter = "requests", cap = 1_000_000_000_000_000, overage = { price = 0.5, per = 1_000 }',
            "meter requests: the price of all units up to the cap is too large",
        ),
        (
            'meter = "dollars", overage = { price = 1.000000001 }',
            "meter dollars: a price that is no whole number of nanocredits for each 1,000 units or fewer needs a cap",
        ),
    ],
)
def test_mistakes_of_a_plans_meter_are_one_sentence(meter: str, problem: str) -> None:
    (found,) = problems(plan(f"{CUSTOM}meters = [{{ {meter} }}]"))
    assert found.startswith(f"plan p: {problem}")


@pytest.mark.parametrize("field", ["allowance = 1", "overage = { price = 1 }"])
def test_dollars_are_not_charged_twice(field: str) -> None:
    lines = CUSTOM.replace("false", "true") + f'meters = [{{ meter = "dollars", {field} }}]'
    (found,) = problems(plan(lines))
    assert found.startswith("plan p: meter dollars: an ")


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        (METER.replace("seconds", "requests"), "meter requests: is built in and needs no table"),
        (METER.replace('"seconds"', '"concurrency"'), "meter concurrency: is what plans limit by rates"),
        (METER.replace('"seconds"', '"Seconds"'), "meter Seconds: name must be lower-case letters"),
        (METER.replace('"second"', '" "'), "meter seconds: unit must not be empty"),
        (METER.replace("sum", "mean"), "meter seconds: aggregation: invalid enum value 'mean'"),
        (FEATURE.replace("free = 10", "free = -1"), "feature ads: limits: free must be between 0 and"),
        (FEATURE.replace("free = 10", "free = true"), "feature ads: limits"),
        (FEATURE.replace("unlimited", "endless"), "feature ads: limits[...]: invalid enum value 'endless'"),
        (FEATURE.replace("enterprise =", "enterprse ="), "feature ads: limits: there is no tier enterprse"),
        (FEATURE.replace("free", '"Free"'), "feature ads: limits: tier Free must be lower-case letters"),
        ('[[feature]]\nname = "ads"\ntitle = "Ads"\nlimits = {}', "feature ads: limits must name a tier"),
        (FEATURE * 2, "feature ads: is there twice"),
        (plan(FLAT) * 2, "plan p: is there twice"),
        (
            plan(FLAT + "price = 0\ndefault = true\n") + plan(FLAT + "price = 0\ndefault = true\n", "q"),
            "plan p, q: only one plan can be the default",
        ),
    ],
)
def test_mistakes_of_meters_features_and_defaults(text: str, problem: str) -> None:
    (found,) = problems(text)
    assert found.startswith(problem)


def test_an_included_plan_has_no_cap_in_place_of_its_allowance() -> None:
    assert problems(plan('strategy = "included"\nmeters = [{ meter = "requests", cap = 1 }]')) == (
        "plan p: meter requests: an included plan needs an allowance",
        "plan p: meter requests: an included plan ends at its allowance; it has no cap and no overage",
    )


def test_everything_that_is_wrong_with_a_plan_is_told_at_once() -> None:
    lines = 'strategy = "overage"\nslug = "P"\nname = ""\nprice = -1\ntrial_days = -1\nrates = { concurrency = 0 }\n'
    lines += 'meters = [{ meter = "a", cap = 1.5, allowance = -1 }, { meter = "requests", allowance = 1 }]'
    assert problems(f"[[plan]]\n{lines}") == (
        "plan P: slug must be lower-case letters, digits and '-'",
        "plan P: name must not be empty",
        "plan P: rates: concurrency must be between 1 and 1000000000",
        "plan P: trial_days must be between 0 and 730",
        "plan P: price must not be negative",
        "plan P: meter a: allowance must not be negative",
        "plan P: meter a: cap must be a whole number",
        "plan P: meter requests: an overage plan needs an overage = { price, per }",
        "plan P: credit_limit must say what may be owed before a request is refused, as overage is billed later",
    )


def test_what_is_there_and_wrong_is_not_missing() -> None:
    route = '[[route]]\nalias = "fast"\ncandidates = []\n'
    text = FEATURE.replace("free = 10", "free = -1") + METER.replace("sum", "mean") + route
    text += plan(FLAT + 'quotas = { ads = 1 }\nroutes = ["fast"]\nmeters = [{ meter = "seconds", cap = 1 }]')
    assert [problem.split(":")[0] for problem in problems(text)] == ["route fast", "meter seconds", "feature ads"]


def test_a_tier_of_ones_own_is_known_by_a_plan_and_a_feature() -> None:
    feature = FEATURE.replace("pro =", "team =")
    assert only(feature + plan(FLAT + 'tier = "team"\n'))
    assert problems(feature) == ("feature ads: limits: there is no tier team, for no plan has it",)
    # A plan that is wrong itself may be the one that has it.
    assert problems(feature + plan('strategy = "included"\ntier = "team"\n')) == (
        "plan p: an included plan needs a [[plan.meters]]",
    )


def test_a_provider_with_open_models_may_sell_any_name() -> None:
    provider = '[[provider]]\nname = "acme"\nbase_url = "https://acme.test"\n'
    text = plan(FLAT + 'routes = ["acme/small"]')
    assert problems(provider + text) == ("plan p: there is no route acme/small",)
    assert only(provider + "open_models = true\n" + text)


def test_the_example_holds_the_promised_plans() -> None:
    documents = [wanted.document for (wanted,) in parse(EXAMPLE)["plan"].values()]
    plans = {plan.slug: plan for plan in documents if isinstance(plan, Plan)}
    assert {p.strategy for p in plans.values()} == {"flat", "included", "overage", "payg", "prepaid", "custom"}
    starter, pro = plans["starter"], plans["pro"]
    assert (starter.amount_minor, starter.meters) == (2900, (PlanMeter(meter="requests", allowance=10_000),))
    assert (pro.amount_minor, pro.interval) == (9900, "month")
    assert pro.meters == (PlanMeter(meter="requests", allowance=100_000, price=500_000_000, per=1000),)
    assert {"image_generation", "document_page", "input_tokens"} <= {m.meter for m in plans["studio"].meters}
    assert [p.slug for p in plans.values() if p.default] == ["prepaid"]


def test_the_example_holds_the_23_features() -> None:
    documents = [wanted.document for (wanted,) in parse(EXAMPLE)["feature"].values()]
    features = {feature.name: tuple(feature.limits.items()) for feature in documents if isinstance(feature, Feature)}
    assert len(features) == 23
    for (free, less), (pro, more), (enterprise, most) in features.values():
        assert (free, pro, enterprise) == ("free", "pro", "enterprise")
        assert less is not None
        assert more is not None
        assert 0 < less < more
        assert most is None
    given = {
        "ad_generations": (10, 100),
        "brand_analyses": (5, 50),
        "connector_syncs": (20, 500),
        "dashboard_refreshes": (50, 500),
        "goal_creations": (5, 50),
        "agent_creations": (3, 20),
    }
    assert {name: tuple(limit for _tier, limit in features[name][:2]) for name in given} == given


def test_no_slip_of_the_pen_is_more_than_a_catalog_error() -> None:
    """Whatever one character of the example becomes, the answer is a catalog or the sentences about it."""
    dice = random.Random(7)
    begin = EXAMPLE.index("[[feature]]")
    answers = {"read": 0, "refused": 0}
    for _ in range(300):
        at = dice.randrange(begin, len(EXAMPLE))
        slip = dice.choice(["", "-", '"', "9", "=", "e", "0", "."])
        answers[_answer(EXAMPLE[:at] + slip + EXAMPLE[at + dice.randrange(3) :])] += 1
    assert min(answers.values()) > 20


def _answer(text: str) -> str:
    try:
        parse(text)
    except CatalogError:
        return "refused"
    return "read"
