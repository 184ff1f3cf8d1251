"""Secrets have one shape, enough chance in them, and nothing else is taken for one."""

import re

import pytest

from tallystick.accounts.secret_token import API_KEY, SESSION, digest, is_token, new_token


def test_a_token_is_its_prefix_and_43_letters_and_digits() -> None:
    for _ in range(200):
        token = new_token(API_KEY)
        assert re.fullmatch(r"tsk_[0-9A-Za-z]{43}", token)
        assert is_token(token, API_KEY)


def test_tokens_differ_in_every_place_that_can() -> None:
    tokens = [new_token(SESSION) for _ in range(300)]
    assert len(set(tokens)) == 300
    # The first of the 43 holds what is left of 256 bits; every other one takes many values.
    for place in range(5, 47):
        assert len({token[place] for token in tokens}) > 30


def test_the_digest_is_that_of_the_whole_token() -> None:
    token = new_token(API_KEY)
    assert len(digest(token)) == 32
    assert digest(token) != digest(token[:-1] + ("a" if token[-1] != "a" else "b"))


GOOD = "tsk_" + "a" * 43


@pytest.mark.parametrize(
    "text",
    ["", "tsk_", GOOD[:-1], GOOD + "a", "tss_" + "a" * 43, "tsk_" + "a" * 42 + "-", "tsk_" + "a" * 42 + "\0",
     "tsk_" + "a" * 42 + "\n", " " + GOOD[:-1], "tsk_" + "\u00e9" * 43, "tsk_" + "\u0663" * 43, "a" * 1_000_000],
    ids=range(12),
)  # fmt: skip
def test_nothing_else_is_taken_for_one(text: str) -> None:
    assert is_token(GOOD, API_KEY)
    assert not is_token(text, API_KEY)
