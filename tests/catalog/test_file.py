"""Reading a catalog file: exact money, and every mistake told in one sentence that names its place."""

from datetime import UTC, datetime
from pathlib import Path

import pytest

from tallystick.catalog.document import CostProfile, CredentialReference, EntryKind, Pack, Price, Provider, Route
from tallystick.catalog.errors import CatalogError
from tallystick.catalog.file import parse
from tallystick.catalog.price import Rates, Tier

PROVIDER = '[[provider]]\nname = "acme"\nbase_url = "https://acme.test"\n'
COST = '[[cost_profile]]\nprovider = "acme"\nmodel = "small"\n'
PRICE = '[[price]]\nprovider = "acme"\nmodel = "small"\n'
ROUTE = '[[route]]\nalias = "fast"\n'
PACK = '[[pack]]\nslug = "starter"\nname = "Starter"\n'


def only(text: str, kind: EntryKind, name: str) -> object:
    (wanted,) = parse(text)[kind][name]
    return wanted.document


def problems(text: str) -> tuple[str, ...]:
    with pytest.raises(CatalogError) as raised:
        parse(text)
    assert str(raised.value) == "\n".join(raised.value.problems)
    return raised.value.problems


def test_decimals_are_exact() -> None:
    cost = only(
        PROVIDER + COST + "input = 0.075\noutput = 0.000000001\nimage = 0.04\nrequest = 2", "cost_profile", "acme/small"
    )
    assert isinstance(cost, CostProfile)
    assert cost.rates == Rates(input=75_000_000, output=1, image=40_000_000_000_000, request=2_000_000_000_000_000)


def test_tiers_and_limits() -> None:
    text = COST + "input = 1\ncontext_tokens = 1000\noutput_tokens_max = 10\nimage_tokens_max = 5\n"
    text += "tiers = [{ above_input_tokens = 200000, input = 2.5 }]"
    cost = only(PROVIDER + text, "cost_profile", "acme/small")
    assert cost == CostProfile(
        provider="acme",
        model="small",
        rates=Rates(input=10**9, tiers=(Tier(above_input_tokens=200_000, input=2_500_000_000),)),
        context_tokens=1000,
        output_tokens_max=10,
        image_tokens_max=5,
    )


def test_a_markup_and_rates_of_its_own() -> None:
    assert only(PROVIDER + PRICE + "markup = 1.25", "price", "acme/small") == Price(
        provider="acme", model="small", markup_ppm=1_250_000, rates=None
    )
    assert only(PROVIDER + PRICE + "input = 3\nallow_loss = true", "price", "acme/small") == Price(
        provider="acme", model="small", markup_ppm=None, rates=Rates(input=3 * 10**9), allow_loss=True
    )


def test_prices_for_many_models() -> None:
    catalog = parse('[[price]]\nprovider = "*"\nmodel = "*"\nmarkup = 2')
    assert list(catalog["price"]) == ["*/*"]
    assert parse("markup = 2")["price"] == catalog["price"]
    assert problems("markup = 2\n" + '[[price]]\nprovider = "*"\nmodel = "*"\nmarkup = 2') == (
        "price */*: is there twice",
    )


def test_a_provider() -> None:
    text = PROVIDER + 'credential = { env = "ACME_KEY" }\nopen_models = true\nprice_list = "openai"'
    assert only(text, "provider", "acme") == Provider(
        name="acme",
        protocol="openai",
        base_url="https://acme.test",
        credential=CredentialReference(env="ACME_KEY"),
        open_models=True,
        price_list="openai",
    )


@pytest.mark.parametrize(
    "url", ["http://127.0.0.1:8000/v1", "http://localhost:1", "http://[::1]:80", "https://a.test/"]
)
def test_base_urls_that_are_allowed(url: str) -> None:
    provider = only(f'[[provider]]\nname = "acme"\nbase_url = "{url}"', "provider", "acme")
    assert isinstance(provider, Provider)
    assert provider.base_url == url.rstrip("/")


@pytest.mark.parametrize(
    ("url", "problem"),
    [
        ("http://acme.test", "must be https; for a trusted network set allow_http = true"),
        ("ftp://acme.test", "must be an http or https URL"),
        ("acme.test", "must be an http or https URL"),
        ("https://", "must be an http or https URL"),
        ("https://acme.test:port", "is not a URL"),
        ("https://user:secret@acme.test", "must not hold a user, a query or a fragment"),
        ("https://acme.test/?key=1", "must not hold a user, a query or a fragment"),
        ("https://acme.test/#a", "must not hold a user, a query or a fragment"),
        ("https://acme .test", "must be an http or https URL"),
    ],
)
def test_base_urls_that_are_refused(url: str, problem: str) -> None:
    assert problems(f'[[provider]]\nname = "acme"\nbase_url = "{url}"') == (f"provider acme: base_url {problem}",)


def test_http_on_a_trusted_network_is_allowed_when_said() -> None:
    provider = only(
        '[[provider]]\nname = "acme"\nbase_url = "http://llm.lan:80"\nallow_http = true', "provider", "acme"
    )
    assert isinstance(provider, Provider)


def test_candidates_are_in_the_order_of_their_priority() -> None:
    text = ROUTE + 'candidates = [{provider="a", model="x", priority=2}, {provider="b", model="y"}]'
    text += '\nfallback = { attempts_max = 2, on = ["timeout"] }'
    route = only(text, "route", "fast")
    assert isinstance(route, Route)
    assert [candidate.model for candidate in route.candidates] == ["y", "x"]
    assert route.fallback.attempts_max == 2


def test_a_pack_buys_its_amount_in_credits_unless_it_says_more() -> None:
    assert only(PACK + "amount = 5", "pack", "starter") == Pack(
        slug="starter", name="Starter", amount_minor=500, currency="usd", credits=5 * 10**9
    )
    pack = only(PACK + 'amount = 99.99\ncredits = 120.5\ncurrency = "USD"', "pack", "starter")
    assert pack == Pack(slug="starter", name="Starter", amount_minor=9999, currency="usd", credits=120_500_000_000)


def test_dates() -> None:
    text = PROVIDER + PRICE + "markup = 1.5\neffective_from = 2026-05-01\n" + PRICE
    text += "markup = 1.6\neffective_from = 2026-06-01T02:00:00+02:00\n" + PRICE + "markup = 1.4\n"
    wanted = parse(text)["price"]["acme/small"]
    assert [entry.effective_from for entry in wanted] == [
        datetime(2026, 5, 1, tzinfo=UTC),
        datetime(2026, 6, 1, tzinfo=UTC),
        None,
    ]


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("[[provider", "the file is not valid TOML"),
        ("[provider]\nname='a'", "provider must be written as [[provider]]"),
        ("[[prices]]\na=1", "there is no table prices"),
        (PROVIDER + COST, "cost_profile acme/small: needs a rate, such as input"),
        (PROVIDER + COST + "inputt = 1", "cost_profile acme/small: there is no field `inputt`"),
        (PROVIDER + COST + "input = true", "cost_profile acme/small: input: expected `decimal | null`, got `bool`"),
        (PROVIDER + COST + "input = nan", "cost_profile acme/small: input must be a finite number"),
        (PROVIDER + COST + "input = inf", "cost_profile acme/small: input must be a finite number"),
        (PROVIDER + COST + "input = -1", "cost_profile acme/small: input must not be negative"),
        (PROVIDER + COST + "input = 1e999999", "cost_profile acme/small: input is too large"),
        (PROVIDER + COST + "input = 1000000.1", "cost_profile acme/small: input is too large"),
        (PROVIDER + COST + "image = 1001", "cost_profile acme/small: image is too large"),
        (PROVIDER + COST + "input = 0.0000000001", "cost_profile acme/small: input has more than 9 decimals"),
        (PROVIDER + COST + "input = 1e-999999999", "cost_profile acme/small: input has more than 9 decimals"),
        (PROVIDER + COST + "input = 1\ncontext_tokens = 0", "cost_profile acme/small: context_tokens must be between"),
        (COST + "input = 1", "cost_profile acme/small: there is no provider acme"),
        (PRICE + "markup = 1", "price acme/small: there is no provider acme"),
        (PROVIDER + PRICE, "price acme/small: needs either a markup or rates of its own"),
        (PROVIDER + PRICE + "markup = 1\ninput = 1", "price acme/small: needs either a markup or rates of its own"),
        (PROVIDER + PRICE + "markup = 0", "price acme/small: markup must be above 0"),
        (PROVIDER + PRICE + "markup = 1.0000001", "price acme/small: markup has more than 6 decimals"),
        (PROVIDER + PRICE + "markup = 1\neffective_from = 2026-01-01T00:00:00", "price acme/small: effective"),
        (PROVIDER + (PRICE + "markup = 1\n") * 2, "price acme/small: is there twice"),
        ('[[price]]\nprovider = "*"\nmodel = "*"\ninput = 1', "price */*: a price for many models"),
        ('[[price]]\nprovider = "*"\nmodel = "m"\nmarkup = 1', "price */m: provider '*' goes with model '*' only"),
        ("[[price]]\nmarkup = 1", "price number 1: is missing required field `provider`"),
        (
            PROVIDER + COST + "input = 1\ntiers = [{above_input_tokens = 5, output = 1}]",
            "cost_profile acme/small: tiers above_input_tokens = 5: output has a rate here but none below",
        ),
        (
            PROVIDER + COST + "input = 1\ntiers = [{above_input_tokens=5, input=1}, {above_input_tokens=5, input=2}]",
            "cost_profile acme/small: tiers above_input_tokens = 5: tiers must have ascending bounds",
        ),
        (
            PROVIDER + COST + "input = 1\ntiers = [{above_input_tokens=5}]",
            "cost_profile acme/small: tiers above_input_tokens = 5: needs a rate",
        ),
        (PROVIDER + "credential = {}", "provider acme: credential needs either env or sealed"),
        (PROVIDER + 'credential = {env = "sk-abc"}', "provider acme: credential: env must be the name of"),
        (PROVIDER + 'protocol = "soap"', "provider acme: protocol: invalid enum value 'soap'"),
        (PROVIDER.replace("acme", "Acme Inc"), "provider Acme Inc: name must be lower-case letters"),
        (ROUTE + "candidates = []", "route fast: candidates must name at least one model"),
        (ROUTE + 'candidates = [{provider="a", model="x"}, {provider="a", model="x"}]', "route fast: candidates names"),
        (ROUTE + 'candidates = [{provider="a", model="x", weight=0}]', "route fast: candidates: priority is 0 to 1000"),
        (ROUTE + 'candidates = [{provider="a", model="x"}]\nfallback = {attempts_max=0}', "route fast: fallback:"),
        (PACK + "amount = 0", "pack starter: amount must be greater than zero"),
        (PACK + "amount = 5.001", "pack starter: amount has more than 2 decimals"),
        (PACK + "amount = 5\ncredits = -1", "pack starter: credits must be greater than zero"),
        (PACK + 'amount = 5\ncurrency = "jpy"', "pack starter: currency is jpy, and the books are in usd alone"),
        (PACK + 'amount = 5\ncurrency = "EUR"', "pack starter: currency is EUR, and the books are in usd alone"),
        (PACK.replace('"Starter"', '" "') + "amount = 5", "pack starter: name must not be empty"),
    ],
)
def test_mistakes_are_one_sentence_with_table_entry_and_field(text: str, problem: str) -> None:
    (found,) = problems(text)
    assert found.startswith(problem)


def test_several_mistakes_are_told_at_once() -> None:
    text = COST + "input = -1\n" + PACK + "amount = 0\n" + ROUTE + "candidates = []"
    assert [problem.split(":")[0] for problem in problems(text)] == [
        "cost_profile acme/small",
        "route fast",
        "pack starter",
    ]


def test_the_shipped_example_is_valid() -> None:
    text = (Path(__file__).parents[2] / "examples" / "catalog.toml").read_text()
    catalog = parse(text)
    packs = {name: entries[0].document for name, entries in catalog["pack"].items()}
    amounts = {name: pack.amount_minor for name, pack in packs.items() if isinstance(pack, Pack)}
    assert amounts == {"starter": 500, "standard": 2500, "power": 10_000}
    provider = catalog["provider"]["openai"][0].document
    assert isinstance(provider, Provider)
    assert provider.credential == CredentialReference(env="OPENAI_API_KEY")


def test_a_number_that_decimal_arithmetic_would_round_is_refused() -> None:
    digits = "0.1" + "0" * 40 + "1"
    problem = "cost_profile acme/small: input has more than 9 decimals"
    assert problems(PROVIDER + COST + f"input = {digits}") == (problem,)
    assert problems(PACK + f"amount = 5.{'0' * 40}1") == ("pack starter: amount has more than 9 decimals",)
