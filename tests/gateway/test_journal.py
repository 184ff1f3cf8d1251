"""What is written down is what is found again, through rotation, crashes and full disks."""

import asyncio
import os
from contextlib import closing
from pathlib import Path
from uuid import UUID

import pytest

from tallystick.base.errors import Unavailable
from tallystick.base.ids import new_id
from tallystick.catalog.price import Usage
from tallystick.gateway.journal import Dispatched, Found, Journal, Settlement, abandoned, read
from tallystick.reservations.usage_record import UsageRecord


def dispatched(hold: UUID) -> Dispatched:
    return Dispatched(
        hold=hold,
        account=2**20,
        api_key="key_1",
        endpoint="chat.completions",
        alias="small",
        provider="acme",
        model="small-1",
        stream=True,
        cost_id=1,
        price_id=2,
        reserved=1000,
        usage=Usage(input_tokens=100, output_tokens=50),
    )


def record(hold: UUID) -> UsageRecord:
    return UsageRecord(
        id=hold,
        account=2**20,
        endpoint="chat.completions",
        alias="small",
        provider="acme",
        model="small-1",
        stream=True,
        input_tokens=10,
        output_tokens=5,
        usage_source="provider",
        cost=1,
        charge=2,
        reserved=1000,
        outcome="completed",
        rule="completed",
        status=200,
        attempts=1,
        latency_ms=1,
    )


@pytest.fixture
def journal(tmp_path: Path) -> Journal:
    opened = Journal(tmp_path, rotate_bytes=2000)
    opened.start()
    return opened


def die(journal: Journal) -> None:
    os.close(journal._file)


def found(folder: Path) -> list[Found]:
    with closing(abandoned(folder)) as journals:
        return list(journals)


async def test_the_last_that_is_known_of_each_call_counts(journal: Journal, tmp_path: Path) -> None:
    sent, running, unsettled, done = (new_id() for _ in range(4))
    for hold in (sent, running, unsettled, done):
        journal.dispatched(dispatched(hold))
    journal.progress(running, Usage(input_tokens=25, output_tokens=7))
    await journal.settlement(record(unsettled))
    journal.ended(done)
    journal.dispatched(dispatched(last := new_id()))  # takes the end along
    die(journal)
    (dead,) = found(tmp_path)
    assert dead.dispatcher == journal.dispatcher
    assert set(dead.open) == {sent, running, unsettled, last}
    assert dead.open[sent] == dispatched(sent)
    going = dead.open[running]
    assert isinstance(going, Dispatched)
    assert going.usage == Usage(input_tokens=25, output_tokens=7)
    assert dead.open[unsettled] == Settlement(hold=unsettled, record=record(unsettled))
    assert list(tmp_path.iterdir()) == []


async def test_it_starts_afresh_with_what_is_open(journal: Journal, tmp_path: Path) -> None:
    kept = new_id()
    journal.dispatched(dispatched(kept))
    journal.progress(kept, Usage(input_tokens=3, output_tokens=4))
    for _ in range(100):
        journal.dispatched(dispatched(hold := new_id()))
        journal.ended(hold)
    (path,) = tmp_path.glob("*.journal")
    assert path.stat().st_size < 6000
    assert list(tmp_path.glob("*.new")) == []
    assert found(tmp_path) == []  # locked, under its new file too
    die(journal)
    (dead,) = found(tmp_path)
    going = dead.open[kept]
    assert isinstance(going, Dispatched)
    assert going.usage == Usage(input_tokens=3, output_tokens=4)


def test_a_clean_stop_leaves_nothing(journal: Journal, tmp_path: Path) -> None:
    journal.dispatched(dispatched(hold := new_id()))
    journal.ended(hold)
    journal.stop(clean=True)
    assert list(tmp_path.iterdir()) == []


def test_a_stop_with_something_open_leaves_it(journal: Journal, tmp_path: Path) -> None:
    journal.dispatched(dispatched(hold := new_id()))
    journal.stop(clean=False)
    (dead,) = found(tmp_path)
    assert set(dead.open) == {hold}


def test_a_line_after_a_failed_write_is_whole(journal: Journal, tmp_path: Path) -> None:
    (path,) = tmp_path.glob("*.journal")
    good, read_only = journal._file, os.open("/dev/null", os.O_RDONLY)
    journal._file = read_only
    with pytest.raises(Unavailable):
        journal.dispatched(dispatched(new_id()))
    journal._file = good
    os.write(good, b'["dispatched","01')  # what a full disk took of that line
    journal.dispatched(dispatched(hold := new_id()))
    assert set(read(path).open) == {hold}
    os.close(read_only)
    journal.stop(clean=False)


def test_one_who_waits_for_the_lock_finds_nothing_left(journal: Journal, tmp_path: Path) -> None:
    journal.dispatched(dispatched(new_id()))
    die(journal)
    with closing(abandoned(tmp_path)) as first, closing(abandoned(tmp_path)) as second:
        assert len(next(first).open) == 1
        assert list(second) == []
        assert list(first) == []
    assert found(tmp_path) == []


def test_who_fails_in_the_middle_leaves_the_journal_for_the_next(journal: Journal, tmp_path: Path) -> None:
    journal.dispatched(dispatched(new_id()))
    die(journal)
    with closing(abandoned(tmp_path)) as journals:
        next(journals)
    assert len(found(tmp_path)) == 1


def test_only_its_owner_can_read_it(journal: Journal, tmp_path: Path) -> None:
    asyncio.run(journal.settlement(record(new_id())))
    (path,) = tmp_path.glob("*.journal")
    assert path.stat().st_mode & 0o777 == 0o600
    journal.stop(clean=False)
