from datetime import UTC, datetime, timedelta

import pytest

from tallystick.notices.backoff import DELAYS, MAIL_DELAYS, next_delay, retry_after

NOW = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)


def test_webhooks_are_tried_for_three_days_and_mails_for_one() -> None:
    assert timedelta(days=2, hours=20) < sum(DELAYS, timedelta()) < timedelta(days=3)
    assert timedelta(hours=20) < sum(MAIL_DELAYS, timedelta()) < timedelta(days=1)


def test_each_wait_is_as_long_as_the_one_before_or_longer() -> None:
    assert list(DELAYS) == sorted(DELAYS)
    assert list(MAIL_DELAYS) == sorted(MAIL_DELAYS)


@pytest.mark.parametrize("attempt", range(1, len(DELAYS) + 1))
def test_chance_adds_up_to_a_fifth(attempt: int) -> None:
    waits = [wait for jitter in range(100) if (wait := next_delay(attempt, jitter)) is not None]
    assert waits[0] == DELAYS[attempt - 1]
    assert waits == sorted(waits)
    assert len(set(waits)) == 100
    assert waits[-1] <= DELAYS[attempt - 1] * 6 / 5


def test_after_the_last_one_there_is_none() -> None:
    assert next_delay(len(DELAYS), 0) is not None
    assert next_delay(len(DELAYS) + 1, 0) is None
    assert next_delay(len(DELAYS) + 1, 0, timedelta(hours=1)) is None


def test_a_receiver_can_make_the_wait_longer_and_not_shorter() -> None:
    assert next_delay(1, 0, timedelta(minutes=10)) == timedelta(minutes=10)
    assert next_delay(11, 0, timedelta(seconds=1)) == DELAYS[10]
    assert next_delay(1, 0, timedelta(days=365)) == timedelta(days=1)


@pytest.mark.parametrize(
    ("header", "wait"),
    [
        ("120", timedelta(minutes=2)),
        (" 0 ", timedelta(0)),
        ("99999999999999", timedelta(days=1)),
        ("Sun, 01 Mar 2026 12:05:00 GMT", timedelta(minutes=5)),
        ("Sun, 01 Mar 2026 11:00:00 GMT", timedelta(0)),
        ("Sun, 01 Mar 2126 12:05:00 GMT", timedelta(days=1)),
        (None, None), ("", None), ("-5", None), ("soon", None), ("1.5", None), ("\u0661", None), ("x" * 5000, None),
    ],
)  # fmt: skip
def test_what_retry_after_says(header: str | None, wait: timedelta | None) -> None:
    assert retry_after(header, NOW) == wait
