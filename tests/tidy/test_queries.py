"""Every query in a .sql file is run by some module of its package, and a long one says why it is as it is."""

import re
from pathlib import Path

GLANCE_LINES = 6
_NAME = re.compile(r"^-- name: *(\w+)", re.MULTILINE)


def test_every_long_query_says_why_it_is_as_it_is(files: dict[Path, str]) -> None:
    found = [f"{path}: {name}" for path, text in queries(files).items() for name in silent_queries(text)]
    assert not found, "\n".join(map(str, found))


def test_every_query_is_run(files: dict[Path, str]) -> None:
    unused = []
    for path, text in queries(files).items():
        around = "\n".join(
            text for other, text in files.items() if other.parent == path.parent and other.suffix == ".py"
        )
        unused += [f"{path}: {name}" for name in unused_queries(text, around)]
    found = unused
    assert not found, "\n".join(map(str, found))


def test_every_query_has_a_name_of_its_own(files: dict[Path, str]) -> None:
    twice = {
        path: names for path, text in queries(files).items() if len(set(names := _NAME.findall(text))) != len(names)
    }
    assert not twice


def queries(files: dict[Path, str]) -> dict[Path, str]:
    return {
        path: text
        for path, text in files.items()
        if path.suffix == ".sql" and path.is_relative_to("src") and "migrations" not in path.parts
    }


def silent_queries(text: str) -> list[str]:
    """Names of queries that are longer than a glance and have no comment in them. A short one's name says it all, and
    a check's says it in the problem that it reports."""
    parts = _NAME.split(text)
    return [
        name
        for name, body in zip(parts[1::2], parts[2::2], strict=True)
        if body.strip().count("\n") > GLANCE_LINES and not re.search(r"^\s*-- \w| as problem\b", body, re.MULTILINE)
    ]


def unused_queries(text: str, modules: str) -> list[str]:
    # As a method, where aiosql makes `name_cursor` of the ones that return rows too, or by name where a module runs
    # one after the other.
    return [name for name in _NAME.findall(text) if not re.search(rf"""\.{name}(_cursor)?\b|"{name}\"""", modules)]


def test_a_long_query_without_a_word_is_found() -> None:
    long = "\n".join(["select 1", *["union all select 1"] * GLANCE_LINES, ";"])
    assert silent_queries(f"-- name: a()\n{long}\n-- name: b()\n-- Why.\n{long}\n-- name: c()\nselect 1;\n") == ["a"]


def test_a_query_that_nobody_runs_is_found() -> None:
    modules = "await queries.find_it(connection); queries.each_cursor(); run('not this'); run(\"by_name\")"
    text = "".join(f"-- name: {name}()\n" for name in ("find_it", "find", "each", "by_name", "this"))
    assert unused_queries(text, modules) == ["find", "this"]
