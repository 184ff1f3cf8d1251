"""All laws that can be checked on a live database, on one snapshot: the books do not have to stand still for it."""

from dataclasses import dataclass

import asyncpg

from tallystick.ledger import read
from tallystick.ledger import verify as ledger_verify
from tallystick.metering import verify as metering_verify
from tallystick.payments import verify as payments_verify
from tallystick.reservations import verify as reservations_verify


@dataclass(frozen=True, slots=True)
class Outcome:
    """One check: the law's number in the docs, what it says, and what was found against it."""

    law: int
    name: str
    problems: list[str]


@dataclass(frozen=True, slots=True)
class Verification:
    outcomes: list[Outcome]
    trial_balance: list[read.TrialBalanceLine]
    # Kept elsewhere it is an anchor for the next time; None where nothing is sealed yet.
    newest_block: ledger_verify.Block | None

    @property
    def broken(self) -> str | None:
        """The first broken law, as "law N: name", or None."""
        return next((f"law {c.law}: {c.name}" for c in self.outcomes if c.problems), None)


async def verify_books(pool: asyncpg.Pool, *, anchor: str | None = None) -> Verification:
    """Run every check, in the order of the laws, and read the trial balance, all in one REPEATABLE READ snapshot.

    `anchor` is the hash of a block that was the newest one once, and must still be in the chain."""
    checks = [*ledger_verify.checks, *reservations_verify.checks, *metering_verify.checks]
    checks += payments_verify.checks
    if anchor is not None:
        checks.append(ledger_verify.anchored(anchor))
    async with pool.acquire() as connection, connection.transaction(isolation="repeatable_read", readonly=True):
        outcomes = [
            Outcome(check.law, check.name, await check.run(connection))
            for check in sorted(checks, key=lambda check: check.law)
        ]
        return Verification(
            outcomes, [*await read.trial_balance(connection)], await ledger_verify.newest_block(connection)
        )
