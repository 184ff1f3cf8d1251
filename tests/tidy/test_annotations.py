"""From Python 3.14 on an annotation is read when somebody asks for it, and then the names of its class come first."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest


def test_no_annotation_means_another_thing_when_it_is_read_late(modules: dict[Path, str]) -> None:
    found = [f"{path}:{line}" for path, text in modules.items() for line in ambiguous_annotations(text)]
    assert not found, "\n".join(map(str, found))


def ambiguous_annotations(text: str) -> list[int]:
    """The lines of annotations with a name in them that their class gives to something of its own."""
    classes = [node for node in ast.walk(ast.parse(text)) if isinstance(node, ast.ClassDef)]
    return [
        annotation.lineno for one in classes for annotation in _annotations(one) if _names(annotation) & set(_own(one))
    ]


def _own(one: ast.ClassDef) -> Iterator[str]:
    for statement in one.body:
        match statement:
            case ast.AnnAssign(target=ast.Name(id=name)) | ast.FunctionDef(name=name) | ast.AsyncFunctionDef(name=name):
                yield name
            case ast.Assign(targets=targets):
                yield from (target.id for target in targets if isinstance(target, ast.Name))


def _annotations(one: ast.ClassDef) -> Iterator[ast.expr]:
    for statement in one.body:
        if isinstance(statement, ast.AnnAssign):
            yield statement.annotation
        elif isinstance(statement, ast.FunctionDef | ast.AsyncFunctionDef):
            arguments = [node for node in ast.walk(statement.args) if isinstance(node, ast.arg)]
            yield from (argument.annotation for argument in arguments if argument.annotation is not None)
            if statement.returns is not None:
                yield statement.returns


def _names(annotation: ast.expr) -> set[str]:
    return {node.id for node in ast.walk(annotation) if isinstance(node, ast.Name)}


@pytest.mark.parametrize(
    "body",
    [
        "object: dict[str, object]",
        "load: load.Result",
        "def list(self) -> int: ...\n    def all(self) -> list[int]: ...",
        "set = 1\n    async def add(self, *more: set[int]) -> None: ...",
    ],
)
def test_one_is_found(body: str) -> None:
    assert ambiguous_annotations(f"class A:\n    {body}\n") != []


@pytest.mark.parametrize("body", ["result: load.Result", "object: Object", "def list(self) -> Sequence[int]: ..."])
def test_others_are_not(body: str) -> None:
    assert ambiguous_annotations(f"class A:\n    {body}\n") == []
