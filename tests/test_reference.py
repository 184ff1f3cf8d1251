import importlib.util
from pathlib import Path

import pytest

_ROOT = Path(__file__).parents[1]
_SPEC = importlib.util.spec_from_file_location("reference", _ROOT / "scripts" / "reference.py")
assert _SPEC
assert _SPEC.loader
reference = importlib.util.module_from_spec(_SPEC)
_SPEC.loader.exec_module(reference)


@pytest.mark.parametrize("name", reference.PAGES)
def test_the_reference_is_what_the_code_says(name):
    written = (_ROOT / "docs" / "reference" / name).read_text()
    assert written == reference.PAGES[name](), "run: python scripts/reference.py"


def test_every_command_and_every_option_says_what_it_is_for():
    for line in reference.commands_page().splitlines():
        assert not line.endswith("|  |"), line
