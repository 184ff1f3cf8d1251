from pathlib import Path

import pytest

from bench.report import Figure, Row, Skipped, amount, at_least, at_most, markdown, medians, write


def row(value: float, **more: object) -> Row:
    return Row("speed", value, "x", f"measured {value}", **more)


def test_a_floor_is_met_from_above_and_a_ceiling_from_below() -> None:
    assert row(15.0, target=at_least(15)).is_met
    assert not row(14.9, target=at_least(15)).is_met
    assert row(12.0, target=at_most(12)).is_met
    assert not row(12.1, target=at_most(12)).is_met


def test_the_table_says_what_was_missed_and_what_was_skipped() -> None:
    table = markdown([row(9.0, target=at_least(15)), row(2.0), Skipped("streams", "nginx is | not installed")])
    assert table.splitlines()[2:] == [
        "| speed | 9 x | >= 15 x | **no** | measured 9.0 |",
        "| speed | 2 x |  |  | measured 2.0 |",
        "| streams | **skipped** |  |  | nginx is / not installed |",
    ]


@pytest.mark.parametrize(
    ("value", "text"), [(0.05443, "0.0544"), (31.24, "31.2"), (99.96, "100"), (1234.5, "1,234"), (65_012, "65,012")]
)
def test_amounts_have_three_digits(value: float, text: str) -> None:
    assert amount(value) == text


def test_of_several_runs_the_row_in_the_middle_is_kept_with_its_basis() -> None:
    runs: list[list[Figure]] = [
        [row(3.0), Skipped("a", "b")],
        [row(1.0), Skipped("a", "b")],
        [row(2.0), Skipped("a", "b")],
    ]
    assert medians(runs) == [row(2.0), Skipped("a", "b")]


def test_a_section_is_replaced_and_the_rest_of_the_document_stays(tmp_path: Path) -> None:
    document = tmp_path / "benchmarks.md"
    document.write_text("# Figures\n\nWhat they mean.\n")
    write(document, "start", "old")
    write(document, "gateway", "first")
    write(document, "start", "new")
    text = document.read_text()
    assert text.startswith("# Figures\n\nWhat they mean.\n\n<!-- start: begin -->\n\nnew\n\n<!-- start: end -->")
    assert "old" not in text
    assert text.count("first") == 1


def test_a_section_without_its_end_is_not_guessed(tmp_path: Path) -> None:
    document = tmp_path / "benchmarks.md"
    document.write_text("<!-- start: begin -->\nwords somebody wrote\n")
    with pytest.raises(ValueError, match="lost its line"):
        write(document, "start", "new")
    assert "words somebody wrote" in document.read_text()
