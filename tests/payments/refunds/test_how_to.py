"""The page says what there is: its states, its policies, its events, its commands."""

import re
from pathlib import Path
from typing import get_args

import pytest
import typer.main

from tallystick.cli.main import app
from tallystick.payments.debts.debt import Policy
from tallystick.payments.refunds.follow import TYPES
from tallystick.payments.refunds.refund import RefundState

PAGE = (Path(__file__).parents[3] / "docs/how-to/refunds-and-disputes.md").read_text()
COMMANDS = sorted(
    {tuple(found) for found in re.findall(r"^tallystick (refunds|disputes|debts) ([a-z-]+)", PAGE, re.MULTILINE)}
)


def in_the_first_column(names):
    cells = re.findall(r"^\| (`[^|]+) \|", PAGE, re.MULTILINE)
    return {*names} & {*re.findall(r"`([a-z_]+)`", " ".join(cells))}


def test_it_names_every_state_every_policy_and_every_event():
    assert in_the_first_column(get_args(RefundState)) == {*get_args(RefundState)}
    assert in_the_first_column(get_args(Policy)) == {*get_args(Policy)}
    assert {*re.findall(r"`((?:refund|charge)\.[a-z_.]+)`", PAGE)} == {*TYPES}


@pytest.mark.parametrize("words", COMMANDS, ids=" ".join)
def test_its_commands_are_there_with_their_options(words):
    command = typer.main.get_command(app)
    for word in words:
        command = command.commands[word]
    known = {option for parameter in command.params for option in parameter.opts}
    used = {
        option
        for line in re.findall(rf"^tallystick {' '.join(words)} .*$", PAGE, re.MULTILINE)
        for option in re.findall(r"--[a-z-]+", line.split("#")[0])
    }
    assert used <= known
