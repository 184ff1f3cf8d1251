"""`verify` and `doctor`: are the books right, and is this installation."""

import asyncio
import os
import re
import shutil
import sys
from typing import Annotated

import asyncpg
import typer
from rich.text import Text

from tallystick.app.doctor import Finding, examine
from tallystick.app.verification import Verification, verify_books
from tallystick.base.errors import Misconfigured
from tallystick.base.money import format_amount, to_decimal
from tallystick.cli.output import AsJson, console, show, table, with_books
from tallystick.settings import Settings, load


def register(app: typer.Typer) -> None:
    app.command()(verify)
    app.command()(doctor)


def _hash(given: str | None) -> str | None:
    if given is not None and not re.fullmatch("[0-9a-f]{64}", given):
        raise typer.BadParameter("must be the 64 hexadecimal digits that an earlier verify printed")
    return given


Anchor = Annotated[
    str | None,
    typer.Option(
        help="The hash of the newest block, as an earlier verify printed it: it must still be in the chain.",
        callback=_hash,
    ),
]


def verify(as_json: AsJson = False, anchor: Anchor = None) -> None:
    """Check every law of the books on the live database and print the trial balance. Exits 1 when one is broken."""

    async def work(pool: asyncpg.Pool, _settings: Settings) -> Verification:
        return await verify_books(pool, anchor=anchor)

    result = with_books(work)
    show(
        {
            "ok": result.broken is None,
            "broken": result.broken,
            "laws": [{"law": c.law, "name": c.name, "problems": c.problems} for c in result.outcomes],
            "trial_balance": [
                {
                    "account": row.kind,
                    "debit": to_decimal(max(-row.posted, 0)),
                    "credit": to_decimal(max(row.posted, 0)),
                }
                for row in result.trial_balance
            ],
            "newest_block": result.newest_block and result.newest_block._asdict(),
        },
        as_json,
        lambda: _print_verification(result),
    )
    if result.broken is not None:
        raise typer.Exit(1)


def _print_verification(result: Verification) -> None:
    table(
        ["Law", "What it says", "Found"],
        [(c.law, c.name, Text("BROKEN", "red") if c.problems else Text("holds", "green")) for c in result.outcomes],
    )
    for outcome in result.outcomes:
        for problem in outcome.problems:
            console.print(Text.assemble((f"law {outcome.law}", "red"), f"  {problem}"))
    console.print()
    table(
        ["Trial balance", ">Debit", ">Credit"],
        [
            *((row.kind, _amount(-row.posted), _amount(row.posted)) for row in result.trial_balance),
            (Text("total", "bold"), _total(result, -1), _total(result, 1)),
        ],
    )
    if result.newest_block is not None:
        console.print(f"\nThe newest block of the chain is {result.newest_block.number}: {result.newest_block.hash}")
    if result.broken is None:
        console.print("\n[green]The books balance: every law that can be checked holds.[/green]")
    else:
        console.print(f"\n[red]The first broken law: {result.broken}[/red]")


def _amount(nano: int) -> str:
    return format_amount(nano) if nano > 0 else ""


def _total(result: Verification, sign: int) -> str:
    return format_amount(sum(max(sign * row.posted, 0) for row in result.trial_balance))


def doctor(as_json: AsJson = False) -> None:
    """Examine this installation: interpreter, settings, database, Stripe, providers, prices. Exits 1 on a fault."""
    try:
        findings = asyncio.run(
            examine(lambda: load(os.environ), python=tuple(sys.version_info[:3]), which=shutil.which)
        )
    except Misconfigured as error:
        findings = [Finding("settings", "fault", error.message)]
    marks = {"ok": Text("ok", "green"), "note": Text("note", "yellow"), "fault": Text("FAULT", "red")}
    show(
        [{"subject": f.subject, "state": f.state, "detail": f.detail} for f in findings],
        as_json,
        lambda: table(["Subject", "State", "Detail"], [(f.subject, marks[f.state], f.detail) for f in findings]),
    )
    if any(finding.state == "fault" for finding in findings):
        raise typer.Exit(1)
