"""Write the reference pages that come from the code: `python scripts/reference.py`. A test keeps them equal to it."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

from typer.main import get_command

from tallystick.cli.main import app
from tallystick.settings import Settings, sentences, variable

FOLDER: Final = Path(__file__).parents[1] / "docs" / "reference"


def settings_page() -> str:
    """docs/reference/settings.md."""
    defaults = Settings()
    rows = [
        f"| `{variable(name)}` | {_shown(getattr(defaults, name))} | {sentence} |"
        for name, sentence in sentences().items()
    ]
    return "\n".join(
        [
            "# Settings",
            "",
            "Each one comes from the environment, or from `tallystick.toml` in the current folder under its name in",
            "lower case and without `TALLYSTICK_`. The environment wins. `tallystick settings` lists them with their",
            "values.",
            "",
            "| variable | default | what it does |",
            "|---|---|---|",
            *rows,
            "",
        ]
    )


def commands_page() -> str:
    """docs/reference/commands.md."""
    root = get_command(app)
    lines = ["# Commands", "", "`tallystick --help` says the same on a terminal. Every command takes `--json`.", ""]
    for words, command in _leaves(root, ["tallystick"]):
        lines += [f"## `{' '.join(words)}`", "", (command.help or "").strip(), ""]
        arguments, options = [], []
        for parameter in command.params:
            text = getattr(parameter, "help", None) or ""
            if parameter.param_type_name == "argument":
                arguments.append(f"| `{parameter.name.upper()}` | {text} |")
            elif "--help" not in parameter.opts:
                names = ", ".join(f"`{name}`" for name in [*parameter.opts, *parameter.secondary_opts])
                options.append(f"| {names} | {text} |")
        if arguments or options:
            lines += ["| argument or option | what it is |", "|---|---|", *arguments, *options, ""]
    return "\n".join(lines)


PAGES: Final = {"settings.md": settings_page, "commands.md": commands_page}


def _leaves(command: Any, words: list[str]) -> Iterator[tuple[list[str], Any]]:
    children = getattr(command, "commands", None)
    if children is None:
        yield words, command
        return
    for name, child in children.items():
        yield from _leaves(child, [*words, name])


def _shown(value: object) -> str:
    if value is None:
        return ""
    return f"`{str(value).lower() if isinstance(value, bool) else value}`"


if __name__ == "__main__":
    for name, page in PAGES.items():
        (FOLDER / name).write_text(page())
