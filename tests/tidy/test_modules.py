"""Modules are small, say what they are for, and leave the environment and inexact numbers to the edges."""

import ast
from pathlib import Path

import pytest

LINES_MAX = 500
LINES_TO_LOOK_AT = 300
# Looked at, and better whole. Take one off when it has become shorter.
LONG_AND_WHOLE = {
    Path("src/tallystick/base/postgres_supervisor.py"): "a script of its own, which can import nothing of ours",
}
FORBIDDEN_NAMES = {"utils", "util", "helpers", "helper", "common", "core", "manager", "service", "misc", "base"}
FACE = Path("src/tallystick/__init__.py")
EDGES = ("src/tallystick/cli", "src/tallystick/app", "src/tallystick/settings.py", "src/tallystick/sandbox")


def test_no_module_is_long(modules: dict[Path, str]) -> None:
    found = [path for path, text in modules.items() if is_longer(text, LINES_MAX)]
    assert not found, "\n".join(map(str, found))


def test_long_modules_were_looked_at(product: dict[Path, str]) -> None:
    long = {path for path, text in product.items() if is_longer(text, LINES_TO_LOOK_AT)}
    assert long == set(LONG_AND_WHOLE)


def test_packages_have_empty_inits_but_for_the_public_face(modules: dict[Path, str]) -> None:
    inits = {path: text for path, text in modules.items() if path.name == "__init__.py" and path != FACE}
    found = [path for path, text in inits.items() if text.strip()]
    assert not found, "\n".join(map(str, found))


def test_modules_say_what_they_are_for(modules: dict[Path, str]) -> None:
    # The name of a test module says which module it tests, and pytest's own name what a conftest.py is for.
    others = {path: text for path, text in modules.items() if not path.name.startswith(("test_", "conftest."))}
    found = [path for path, text in others.items() if not says_what_it_is_for(text)]
    assert not found, "\n".join(map(str, found))


def test_modules_have_names_that_say_something(modules: dict[Path, str]) -> None:
    found = [path for path in modules if path.stem in FORBIDDEN_NAMES]
    assert not found, "\n".join(map(str, found))


def test_the_environment_is_read_at_the_edges_only(product: dict[Path, str]) -> None:
    inside = {path: text for path, text in product.items() if not str(path).startswith(EDGES)}
    found = [path for path, text in inside.items() if reads_environment(text)]
    assert not found, "\n".join(map(str, found))


def test_nothing_is_turned_into_a_float(product: dict[Path, str]) -> None:
    found = [f"{path}:{line}" for path, text in product.items() for line in conversions_to_float(text)]
    assert not found, "\n".join(map(str, found))


def test_nothing_catches_everything_without_a_word(product: dict[Path, str]) -> None:
    found = [f"{path}:{line}" for path, text in product.items() for line in silent_catch_alls(text)]
    assert not found, "\n".join(map(str, found))


def test_nothing_is_left_for_later(modules: dict[Path, str]) -> None:
    found = [path for path, text in modules.items() if leaves_something_for_later(text)]
    assert not found, "\n".join(map(str, found))


def is_longer(text: str, lines: int) -> bool:
    return text.count("\n") > lines


def says_what_it_is_for(text: str) -> bool:
    """A module with anything in it begins with a sentence on its first line."""
    if not text.strip():
        return True
    sentence = (ast.get_docstring(ast.parse(text), clean=False) or "").split("\n")[0]
    return text.startswith('"""') and len(sentence.split()) > 2


def reads_environment(text: str) -> bool:
    names = {
        node.attr
        for node in ast.walk(ast.parse(text))
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id == "os"
    }
    imported = {
        alias.name
        for node in ast.walk(ast.parse(text))
        if isinstance(node, ast.ImportFrom) and node.module == "os"
        for alias in node.names
    }
    return bool((names | imported) & {"environ", "environb", "getenv", "getenvb", "putenv"})


def conversions_to_float(text: str) -> list[int]:
    """Lines that call float() on anything but a literal such as "inf"."""
    return [
        node.lineno
        for node in ast.walk(ast.parse(text))
        if isinstance(node, ast.Call)
        and isinstance(node.func, ast.Name)
        and node.func.id == "float"
        and not all(isinstance(argument, ast.Constant) for argument in node.args)
    ]


def silent_catch_alls(text: str) -> list[int]:
    """Lines that catch every exception and do nothing with it."""
    return [
        handler.lineno
        for handler in ast.walk(ast.parse(text))
        if isinstance(handler, ast.ExceptHandler)
        and (handler.type is None or (isinstance(handler.type, ast.Name) and handler.type.id.endswith("Exception")))
        and all(isinstance(statement, ast.Pass | ast.Continue) for statement in handler.body)
    ]


def leaves_something_for_later(text: str) -> bool:
    words = {"TODO", "FIXME", "HACK"}
    return any(
        line.lstrip().startswith("#") and words & set(line.replace(":", " ").split()) for line in text.split("\n")
    )


def test_the_length_of_a_module_counts_its_lines() -> None:
    assert is_longer("x\n" * 501, 500)
    assert not is_longer("x\n" * 500, 500)


@pytest.mark.parametrize(
    "text", ["import os\n", '"""Money."""\n', '# comment\n"""What this is for."""\n', '"""\nLate.\n"""\n']
)
def test_a_module_without_a_first_sentence_is_found(text: str) -> None:
    assert not says_what_it_is_for(text)


@pytest.mark.parametrize("text", ["", '"""What this is for."""\n', '"""What this is for.\n\nMore.\n"""\nimport os\n'])
def test_a_module_with_one_is_not(text: str) -> None:
    assert says_what_it_is_for(text)


@pytest.mark.parametrize(
    "text",
    ['import os\nx = os.environ["A"]', 'import os\nos.getenv("A")', "from os import environ", "from os import getenv"],
)
def test_a_read_of_the_environment_is_found(text: str) -> None:
    assert reads_environment(text)


def test_a_variable_called_environ_is_not_the_environment() -> None:
    assert not reads_environment("environ = {}\nmine.environ = environ")


def test_a_conversion_to_float_is_found() -> None:
    assert conversions_to_float('a = float("inf")\nb = float(amount)\nc: float = 1.0') == [2]


def test_a_silent_catch_all_is_found() -> None:
    found = "try:\n    a()\nexcept Exception:\n    pass\ntry:\n    a()\nexcept:\n    pass\n"
    assert silent_catch_alls(found) == [3, 7]
    assert silent_catch_alls("try:\n    a()\nexcept Exception:\n    log()\n") == []
    assert silent_catch_alls("try:\n    a()\nexcept KeyError:\n    pass\n") == []


def test_a_note_for_later_is_found() -> None:
    assert leaves_something_for_later("x = 1\n    # TODO: round\n")
    assert not leaves_something_for_later("# what a todo list is\n")
