"""Attempts are counted exactly, by all processes together, and forgotten after their window."""

import asyncio

import asyncpg
import pytest

from tallystick.accounts import throttle
from tallystick.accounts.throttle import Limit
from tallystick.base.errors import RateLimited

THREE = Limit("three", 3, 600)


async def outcome(pool: asyncpg.Pool, limit: Limit, who: str) -> str:
    try:
        await throttle.count(pool, limit, who)
    except RateLimited:
        return "refused"
    return "admitted"


async def test_exactly_so_many_are_admitted_at_once(pool: asyncpg.Pool) -> None:
    outcomes = await asyncio.gather(*(outcome(pool, THREE, "ada") for _ in range(30)))
    assert outcomes.count("admitted") == 3


async def test_each_subject_and_each_limit_counts_by_itself(pool: asyncpg.Pool) -> None:
    for _ in range(3):
        await throttle.count(pool, THREE, "ada")
    assert await outcome(pool, THREE, "ada") == "refused"
    assert await outcome(pool, THREE, "bob") == "admitted"
    assert await outcome(pool, Limit("another", 3, 600), "ada") == "admitted"


async def test_the_refusal_says_how_long_to_wait(pool: asyncpg.Pool) -> None:
    for _ in range(3):
        await throttle.count(pool, THREE, "ada")
    with pytest.raises(RateLimited) as refused:
        await throttle.count(pool, THREE, "ada")
    assert 1 <= refused.value.retry_after <= 600


async def test_after_the_window_counting_starts_again(pool: asyncpg.Pool) -> None:
    for _ in range(5):
        await outcome(pool, THREE, "ada")
    await pool.execute("update sign_in_attempt set ends_at = clock_timestamp()")
    assert [await outcome(pool, THREE, "ada") for _ in range(4)] == ["admitted"] * 3 + ["refused"]


async def test_a_good_attempt_is_taken_back_and_the_right_person_starts_anew(pool: asyncpg.Pool) -> None:
    for _ in range(3):
        await throttle.count(pool, THREE, "ada")
    await throttle.take_back(pool, THREE, "ada")
    assert [await outcome(pool, THREE, "ada") for _ in range(2)] == ["admitted", "refused"]
    await throttle.forget(pool, THREE, "ada")
    assert [await outcome(pool, THREE, "ada") for _ in range(4)] == ["admitted"] * 3 + ["refused"]


async def test_windows_that_ended_are_not_kept_and_neither_are_names(pool: asyncpg.Pool) -> None:
    for who in range(8):
        await throttle.count(pool, THREE, f"user{who}@example.com")
    assert not await pool.fetchval(
        "select count(*) from sign_in_attempt where position('user' in encode(subject, 'escape')) > 0"
    )
    await pool.execute("update sign_in_attempt set ends_at = clock_timestamp() - interval '1 second'")
    await throttle.count(pool, THREE, "another@example.com")
    assert await pool.fetchval("select count(*) from sign_in_attempt") == 1


@pytest.mark.parametrize(
    ("address", "network"),
    [
        ("192.0.2.7", "192.0.2.7"),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"),
        ("2001:db8:1:2:ffff::1", "2001:db8:1:2::/64"),
        ("::ffff:192.0.2.7", "192.0.2.7"),
        ("testclient", "testclient"),
    ],
)
def test_one_place_is_an_address_or_a_64_bit_network(address: str, network: str) -> None:
    assert throttle.network_of(address) == network
