"""Whatever is published in whatever order: the past stands, the future is what was wanted, and once is enough."""

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tallystick.catalog.document import Document, Price
from tallystick.catalog.errors import CatalogError
from tallystick.catalog.timeline import Change, Version, Wanted, as_version, changes, living

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)


def price(markup_ppm: int) -> Price:
    return Price(provider="acme", model="small", markup_ppm=markup_ppm, rates=None)


@st.composite
def steps(draw: st.DrawFn) -> list[tuple[datetime, list[Wanted]]]:
    """Publications at growing times; each wants one undated price, dated ones to come, both, or nothing."""
    found = []
    now = NOON
    for _ in range(draw(st.integers(1, 6))):
        now += timedelta(hours=draw(st.integers(1, 30)))
        days = draw(st.lists(st.integers(1, 60), unique=True, max_size=3))
        wanted = [
            Wanted(document=price(draw(st.integers(1, 3))), effective_from=now + timedelta(hours=day)) for day in days
        ]
        if draw(st.booleans()):
            wanted.append(Wanted(document=price(draw(st.integers(1, 3)))))
        found.append((now, wanted))
    return found


def publish(known: list[Version], wanted: list[Wanted], now: datetime) -> list[Change]:
    found = changes("price", "acme/small", known, wanted, source="file", now=now)
    for change in found:
        known.append(as_version(change, id_=len(known) + 1))
    return found


def said(known: list[Version], at: datetime) -> Document | None:
    version = living(known, at)
    return version.document if version else None


def expected(before: list[Version], wanted: list[Wanted], now: datetime, at: datetime) -> Document | None:
    dated = [entry for entry in wanted if entry.effective_from is not None and entry.effective_from <= at]
    if dated:
        return max(dated, key=lambda entry: entry.effective_from or NOON).document
    undated = [entry.document for entry in wanted if entry.effective_from is None]
    if undated:
        return undated[0]
    return said(before, now) if wanted else None


@given(steps())
def test_publishing_changes_the_future_to_what_is_wanted_and_never_the_past(
    publications: list[tuple[datetime, list[Wanted]]],
) -> None:
    known: list[Version] = []
    for now, wanted in publications:
        before = list(known)
        publish(known, wanted, now)
        for hours in range(-200, 300, 7):
            at = now + timedelta(hours=hours, seconds=1)
            meant = said(before, at) if at < now else expected(before, wanted, now, at)
            assert said(known, at) == meant
        assert publish(known, wanted, now) == []
        # Later too, as long as nothing else was published.
        assert changes("price", "acme/small", known, wanted, source="file", now=now + timedelta(minutes=30)) == []


def test_a_date_in_the_past_is_refused_only_where_it_would_change_something() -> None:
    known: list[Version] = []
    past = Wanted(document=price(2), effective_from=NOON - timedelta(days=5))
    assert [change.effective_from for change in publish(known, [past], NOON)] == [past.effective_from]
    assert publish(known, [past], NOON + timedelta(days=1)) == []
    other = Wanted(document=price(3), effective_from=NOON - timedelta(days=5))
    with pytest.raises(CatalogError, match="is in the past"):
        publish(known, [other], NOON)
    assert len(known) == 1


def test_an_announced_price_can_be_withdrawn_where_the_present_one_has_a_date_too() -> None:
    known: list[Version] = []
    present = Wanted(document=price(2), effective_from=NOON)
    announced = Wanted(document=price(3), effective_from=NOON + timedelta(days=9))
    publish(known, [present, announced], NOON)
    publish(known, [present], NOON + timedelta(days=1))
    assert said(known, NOON + timedelta(days=10)) == price(2)
