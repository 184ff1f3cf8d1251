"""What stands in a table or a field is shown as it is, and whole."""

import io

import pytest
from rich.console import Console

from tallystick.cli import output


@pytest.fixture
def printed(monkeypatch):
    narrow = Console(file=io.StringIO(), width=40, highlight=False, soft_wrap=True)
    monkeypatch.setattr(output, "console", narrow)
    return narrow.file


def test_an_id_is_not_divided_however_narrow_the_terminal(printed):
    ids = ("org_" + 26 * "a", "key_" + 26 * "b", "user_" + 26 * "c")
    output.table(["Organization", "Key", ">By"], [ids, (None, 1, "several words that may well be wrapped")])
    assert all(one in printed.getvalue() for one in ids)


@pytest.mark.parametrize("name", ["Evil [/x] [red]", "[bold]", "[link=https://example.com]x"])
def test_what_a_customer_writes_is_no_markup(printed, name):
    output.table(["Name", "State"], [(name, "active")])
    output.fields({"name": name, "reason": None})
    assert printed.getvalue().split("\n")[1].startswith(f"{name}  active")
    assert f"name    {name}\nreason  -\n" in printed.getvalue()
