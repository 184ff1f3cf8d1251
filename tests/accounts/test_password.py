"""Passwords are stored as argon2id, compared whole, and limited in length."""

import asyncio

import pytest

from tallystick.accounts import password
from tallystick.accounts.password import hash_password, matches
from tallystick.base.errors import InvalidInput, Unavailable


async def test_only_the_same_password_matches() -> None:
    stored = await hash_password("correct horse")
    assert stored.startswith("$argon2id$")
    assert "correct horse" not in stored
    assert await matches(stored, "correct horse")
    assert not await matches(stored, "correct hors")
    assert not await matches(stored, "")


async def test_without_a_stored_password_nothing_matches() -> None:
    assert not await matches(None, "correct horse")
    assert not await matches(None, "")


async def test_two_hashes_of_one_password_differ() -> None:
    assert await hash_password("correct horse") != await hash_password("correct horse")


async def test_every_character_counts_even_late_ones_and_nul() -> None:
    long = "x" * 900
    stored = await hash_password(long + "a\0b")
    assert await matches(stored, long + "a\0b")
    assert not await matches(stored, long + "a\0c")


async def test_composed_and_decomposed_letters_are_one_password() -> None:
    stored = await hash_password("caf\u00e9 au lait")
    assert await matches(stored, "cafe\u0301 au lait")


@pytest.mark.parametrize(
    "bad", ["", "1234567", "x" * 1025, "half a pair \ud800"], ids=["none", "short", "long", "pair"]
)
async def test_a_bad_new_password_names_its_field(bad: str) -> None:
    with pytest.raises(InvalidInput) as refused:
        await hash_password(bad, "new_password")
    assert refused.value.field == "new_password"


async def test_a_crowd_is_told_to_come_back(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(password, "_WAITING_MAX", 2)
    answers = await asyncio.gather(*(matches(None, "correct horse") for _ in range(5)), return_exceptions=True)
    assert answers[:2] == [False, False]
    assert [type(answer) for answer in answers[2:]] == [Unavailable] * 3
    assert await matches(None, "correct horse") is False
