"""However the network cuts it, the same bytes are the same events."""

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tallystick.gateway.events import EventSplitter, EventTooLarge

STREAM = (
    b': comment\n\ndata: {"a": 1}\n\nevent: x\r\ndata: {"b":\r\ndata: 2}\r\n\r\ndata:{"c": 3}\r\rid: 9\n\n'
    b"data\n\ndata: [DONE]\n\n"
)
DATA = [None, b'{"a": 1}', b'{"b":\n2}', b'{"c": 3}', None, b"", b"[DONE]"]


def split(blocks: list[bytes]) -> tuple[bytes, list[bytes | None]]:
    splitter = EventSplitter(10_000)
    events = [event for block in blocks for event in splitter.feed(block)] + splitter.flush()
    return b"".join(event.raw for event in events), [event.data for event in events]


def test_whole() -> None:
    assert split([STREAM]) == (STREAM, DATA)


def test_byte_by_byte() -> None:
    raw, data = split([STREAM[at : at + 1] for at in range(len(STREAM))])
    assert raw == STREAM
    assert [part for part in data if part] == [part for part in DATA if part]


@given(st.lists(st.integers(0, len(STREAM)), max_size=8))
def test_any_cut(cuts: list[int]) -> None:
    edges = [0, *sorted(cuts), len(STREAM)]
    raw, data = split([STREAM[a:b] for a, b in pairwise(edges)])
    assert raw == STREAM
    assert [part for part in data if part] == [part for part in DATA if part]


@given(st.lists(st.sampled_from([b"\r", b"\n", b"data: x", b"data: {}", b":"]), max_size=30))
def test_nothing_is_lost(parts: list[bytes]) -> None:
    raw, _ = split(parts)
    assert raw.replace(b"\r", b"\n").rstrip(b"\n") == b"".join(parts).replace(b"\r", b"\n").rstrip(b"\n")


def test_last_event_without_its_blank_line() -> None:
    assert split([b"data: 1\n\ndata: 2"]) == (b"data: 1\n\ndata: 2\n\n", [b"1", b"2"])


def test_an_endless_event_is_refused() -> None:
    splitter = EventSplitter(100)
    with pytest.raises(EventTooLarge):
        splitter.feed(b"data: " + b"x" * 200)
