"""Ids are time-ordered, and what could be one is told from what would break a query."""

import pytest

from tallystick.base.ids import id_for_request, is_text_id, new_id, text_id


def test_ids_made_one_after_the_other_never_go_back_in_time() -> None:
    made = [new_id() for _ in range(1000)]
    stamps = [each.int >> 80 for each in made]
    assert stamps == sorted(stamps)
    assert len(set(made)) == 1000
    assert {(each.version, each.variant) for each in made} == {(7, "specified in RFC 4122")}


def test_a_request_id_means_one_operation_in_its_scope_only() -> None:
    assert id_for_request("org_1", "a") == id_for_request("org_1", "a")
    assert (
        len({id_for_request(*each) for each in [("org_1", "a"), ("org_2", "a"), ("org_1", "b"), ("", "org_1a")]}) == 4
    )


def test_text_ids_sort_like_the_time_they_were_made(monkeypatch: pytest.MonkeyPatch) -> None:
    made = []
    # Steps of every size: each of the 26 digits changes, through its whole range.
    for millisecond in sorted({*range(200), *(2**n for n in range(48)), *(3 * 2**n for n in range(46))}):
        monkeypatch.setattr("tallystick.base.ids.time.time_ns", lambda at=millisecond: at * 1_000_000)
        made.append(text_id("org"))
    assert made == sorted(made)


def test_a_text_id_is_one() -> None:
    made = text_id("org")
    assert made.startswith("org_")
    assert is_text_id(made)


@pytest.mark.parametrize("text", ["", "\0", "a\nb", "\u00e9", "x" * 65, "x" * 10_000_000])
def test_what_is_none(text: str) -> None:
    assert not is_text_id(text)
