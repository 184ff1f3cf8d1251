"""Pins name no addresses, pages link to what is there, and nothing names a developer's machine."""

import re
import stat
from pathlib import Path

import pytest

README_LINES_MAX = 150
_LINK = re.compile(r"(?<!!)\[[^\]]*\]\(([^)\s]+)\)")
_MACHINE_PATH = re.compile(r"(?<![\w.$}~-])/(?:home|Users|root|work)/\w")


def test_pins_name_no_addresses(files: dict[Path, str]) -> None:
    pins = {path: text for path, text in files.items() if path.parent == Path("requirements")}
    assert set(pins) == {Path("requirements/run.txt"), Path("requirements/dev.txt")}
    found = [f"{path}: {line}" for path, text in pins.items() for line in addresses_in_pins(text)]
    assert not found, "\n".join(map(str, found))


def test_every_pin_is_exact_and_has_hashes(files: dict[Path, str]) -> None:
    for path in (Path("requirements/run.txt"), Path("requirements/dev.txt")):
        assert loose_pins(files[path]) == []


def test_the_development_pins_hold_the_same_versions_as_the_ones_to_run(files: dict[Path, str]) -> None:
    run, development = (versions(files[Path(f"requirements/{name}.txt")]) for name in ("run", "dev"))
    assert {name: development.get(name) for name in run} == run


def test_the_readme_is_read_in_one_go(files: dict[Path, str]) -> None:
    assert files[Path("README.md")].count("\n") <= README_LINES_MAX


def test_every_decision_is_in_the_list_of_decisions(files: dict[Path, str]) -> None:
    decisions = {path.name for path in files if path.parent == Path("docs/decisions") and path.name != "README.md"}
    assert unlisted(decisions, files[Path("docs/decisions/README.md")]) == set()


def test_pages_link_to_what_is_there(files: dict[Path, str], root: Path) -> None:
    pages = {path: text for path, text in files.items() if path.suffix == ".md"}
    found = [f"{path}: {link}" for path, text in pages.items() for link in dead_links(text, root / path)]
    assert not found, "\n".join(map(str, found))


def test_nothing_names_a_developers_machine(files: dict[Path, str]) -> None:
    # This file holds the pattern and its samples.
    others = {path: text for path, text in files.items() if path.name != Path(__file__).name}
    found = [f"{path}: {found}" for path, text in others.items() for found in machine_paths(text)]
    assert not found, "\n".join(map(str, found))


def test_scripts_that_are_run_by_name_may_be(root: Path) -> None:
    assert (root / ".ci" / "run").stat().st_mode & stat.S_IXUSR


def addresses_in_pins(text: str) -> list[str]:
    return [
        line for line in text.split("\n") if "://" in line or line.startswith(("-i", "--index", "--extra", "--find"))
    ]


def loose_pins(text: str) -> list[str]:
    """Requirements that name no exact version, or no hash on the line below."""
    lines = text.split("\n")
    return [
        line
        for line, below in zip(lines, [*lines[1:], ""], strict=True)
        if re.match(r"[A-Za-z0-9]", line) and not ("==" in line and below.strip().startswith("--hash=sha256:"))
    ]


def versions(text: str) -> dict[str, str]:
    return dict(re.findall(r"^([A-Za-z0-9._-]+)(?:\[[^\]]*\])?==([^\s;\\]+)", text, re.MULTILINE))


def unlisted(names: set[str], listing: str) -> set[str]:
    return names - {link.removeprefix("./") for link in _LINK.findall(listing)}


def dead_links(text: str, page: Path) -> list[str]:
    inside = [link for link in _LINK.findall(text) if "://" not in link and not link.startswith(("#", "mailto:"))]
    return [link for link in inside if not (page.parent / link.split("#")[0]).exists()]


def machine_paths(text: str) -> list[str]:
    return _MACHINE_PATH.findall(text)


@pytest.mark.parametrize("line", ["-i https://host/simple", "--find-links /wheels", "a @ https://host/a.whl"])
def test_an_address_in_the_pins_is_found(line: str) -> None:
    assert addresses_in_pins(f"a==1 \\\n    --hash=sha256:00\n{line}\n") == [line]


@pytest.mark.parametrize("line", ["a>=1", "a==1", "a"])
def test_a_loose_pin_is_found(line: str) -> None:
    assert loose_pins(f"{line}\n    # via b\nb==2 \\\n    --hash=sha256:00\n") == [line]


def test_a_decision_that_is_not_listed_is_found() -> None:
    assert unlisted({"0001-a.md", "0002-b.md"}, "- [A](0001-a.md)\n- 0002-b.md") == {"0002-b.md"}


def test_a_dead_link_is_found(tmp_path: Path) -> None:
    (tmp_path / "there.md").touch()
    text = "[a](there.md#part) [b](gone.md) [c](https://example.com/x) [d](#here)"
    assert dead_links(text, tmp_path / "page.md") == ["gone.md"]


@pytest.mark.parametrize("text", ["cd /home/ada/x", 'open("/root/x")', "(/Users/ada)"])
def test_a_path_of_a_machine_is_found(text: str) -> None:
    assert machine_paths(text)


@pytest.mark.parametrize("text", ["GET /api/root/3", "docs/home/a", "(a checkout in /root)", "$HOME/home/x"])
def test_a_path_of_ours_is_not_a_machines(text: str) -> None:
    assert not machine_paths(text)
