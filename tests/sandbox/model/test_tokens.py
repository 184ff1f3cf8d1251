import pytest
from hypothesis import given
from hypothesis import strategies as st

from tallystick.sandbox.model.tokens import count, pieces


@pytest.mark.parametrize(
    ("text", "cut"),
    [
        ("", []),
        ("a", ["a"]),
        ("abcd", ["abcd"]),
        ("abcde", ["abcd", "e"]),
        ("hé llo", ["hé ", "llo"]),
        ("日本語", ["日本", "語"]),
        ("🙂🙂", ["🙂", "🙂"]),
    ],
)
def test_four_bytes_make_a_token(text, cut):
    assert pieces(text) == cut


@given(st.text())
def test_nothing_is_lost_and_the_count_is_that_of_the_pieces(text):
    assert "".join(pieces(text)) == text
    assert count(text) == len(pieces(text))
