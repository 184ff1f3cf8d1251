"""The Book: the right version at any moment, and a reason where there is none."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from tallystick.catalog.book import Book
from tallystick.catalog.document import CredentialReference
from tallystick.catalog.errors import ProviderNotReady, UnknownModel, UnknownPack, UnpricedModel
from tallystick.catalog.file import parse
from tallystick.catalog.price import Usage
from tallystick.catalog.timeline import Version

CATALOG = Path(__file__).with_name("small.toml").read_text()
NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
OPEN = CATALOG.replace("credential = {", "open_models = true\ncredential = {")
KEY = CredentialReference(env="ACME_KEY")


def versions(text: str) -> list[Version]:
    entries = [
        (kind, name, wanted) for kind, names in parse(text).items() for name, all_ in names.items() for wanted in all_
    ]
    return [
        Version(
            id=number,
            kind=kind,
            name=name,
            effective_from=wanted.effective_from or NOW,
            document=wanted.document,
            source="file",
        )
        for number, (kind, name, wanted) in enumerate(entries, 1)
    ]


def book(text: str = CATALOG, secrets=None) -> Book:
    return Book(versions(text), {KEY: "sk-acme"} if secrets is None else secrets)


def test_a_candidate_has_all_that_a_call_needs() -> None:
    (candidate,) = book().candidates("fast", NOW)
    assert (candidate.provider, candidate.model, candidate.protocol) == ("acme", "small", "openai")
    assert (candidate.base_url, candidate.credential) == ("https://api.acme.test/v1", "sk-acme")
    assert (candidate.cost_id, candidate.price_id) == (2, 3)
    usage = Usage(input_tokens=1000, output_tokens=100)
    assert candidate.cost(usage) == 210_000
    assert candidate.charge(usage) == 262_500


def test_the_credential_is_never_printed() -> None:
    (candidate,) = book().candidates("fast", NOW)
    for text in (repr(candidate), str(candidate), f"{candidate!r}", repr(book().models(NOW))):
        assert "sk-acme" not in text


def test_before_the_first_version_there_is_nothing() -> None:
    with pytest.raises(UnknownModel):
        book().candidates("fast", NOW - timedelta(seconds=1))


def test_the_answer_changes_at_the_boundary_and_back() -> None:
    price = '[[price]]\nprovider = "acme"\nmodel = "small"\nmarkup = 2\neffective_from = 2026-04-01\n'
    sold = book(CATALOG + price)
    usage = Usage(input_tokens=1_000_000)
    day = datetime(2026, 4, 1, tzinfo=UTC)
    charges = [sold.candidates("fast", at)[0].charge(usage) for at in (NOW, day - timedelta(microseconds=1), day, NOW)]
    assert charges == [187_500_000, 187_500_000, 300_000_000, 187_500_000]


def test_one_moment_is_worked_out_once() -> None:
    sold = book()
    assert sold.candidates("fast", NOW)[0] is sold.candidates("fast", NOW + timedelta(days=400))[0]


def test_the_narrowest_price_counts() -> None:
    general = '[[price]]\nprovider = "*"\nmodel = "*"\nmarkup = 4\n'
    of_provider = '[[price]]\nprovider = "acme"\nmodel = "*"\nmarkup = 3\n'
    own = CATALOG[CATALOG.index("[[price]]") : CATALOG.index("[[route]]")]
    bare = CATALOG.replace(own, "")
    markups = [
        book(text).candidates("fast", NOW)[0].markup_ppm
        for text in (bare + general, bare + general + of_provider, CATALOG + general + of_provider)
    ]
    assert markups == [4_000_000, 3_000_000, 1_250_000]


@pytest.mark.parametrize("table", ["cost_profile", "price"])
def test_no_price_or_no_cost_no_call(table: str) -> None:
    begin = CATALOG.index(f"[[{table}]]")
    end = CATALOG.index("[[", begin + 2 + len(table))
    sold = book(CATALOG[:begin] + CATALOG[end:])
    with pytest.raises(UnpricedModel) as raised:
        sold.candidates("fast", NOW)
    assert (raised.value.status, raised.value.code) == (403, "model_not_priced")
    assert list(sold.models(NOW)) == []
    assert sold.unsold_targets(NOW) == {"fast": ["acme/small"]}


def test_a_candidate_without_a_price_is_passed_over() -> None:
    text = CATALOG.replace(
        'candidates = [{ provider = "acme", model = "small" }]',
        'candidates = [{ provider = "acme", model = "big" }, { provider = "acme", model = "small" }]',
    )
    assert [candidate.model for candidate in book(text).candidates("fast", NOW)] == ["small"]


def test_a_missing_credential_is_unavailable_not_unknown() -> None:
    sold = book(secrets={})
    assert sold.unready_providers(NOW) == ["acme"]
    with pytest.raises(ProviderNotReady) as raised:
        sold.candidates("fast", NOW)
    assert raised.value.status == 503
    assert "ACME_KEY" not in str(raised.value)


def test_a_provider_may_need_no_credential() -> None:
    text = CATALOG.replace('credential = { env = "ACME_KEY" }', "")
    assert book(text, {}).candidates("fast", NOW)[0].credential is None


def test_a_model_without_a_route_needs_an_open_provider() -> None:
    with pytest.raises(UnknownModel):
        book().candidates("small", NOW)
    opened = book(OPEN)
    assert opened.candidates("small", NOW) == opened.candidates("acme/small", NOW) == opened.candidates("fast", NOW)
    assert [model.name for model in opened.models(NOW)] == ["acme/small", "fast", "small"]


def test_an_open_model_without_a_price_is_refused_as_such() -> None:
    cost = '[[cost_profile]]\nprovider = "acme"\nmodel = "big"\ninput = 1\n'
    opened = book(OPEN + cost)
    with pytest.raises(UnpricedModel):
        opened.candidates("big", NOW)


def test_a_name_of_two_open_providers_must_be_said_in_full() -> None:
    text = OPEN
    text += OPEN[: OPEN.index("[[route]]")].replace("acme", "other")
    opened = book(text)
    with pytest.raises(UnknownModel, match="say acme/small or other/small"):
        opened.candidates("small", NOW)
    assert opened.candidates("other/small", NOW)[0].provider == "other"


def test_packs_from_small_to_large() -> None:
    text = CATALOG + '[[pack]]\nslug = "a"\nname = "A"\namount = 1\n'
    assert [pack.slug for pack in book(text).packs()] == ["a", "starter"]
    assert book(text).pack("starter").amount_minor == 500
    with pytest.raises(UnknownPack):
        book(text).pack("b")
