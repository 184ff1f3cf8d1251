"""History only grows: the grants to change it are gone, and with the grants given back the triggers still refuse.

The suite's own server runs it as an ordinary role that owns the database; on another server it may be a superuser.
"""

import asyncpg
import pytest

from tallystick.base.ids import new_id
from tallystick.ledger.audit import record
from tallystick.ledger.partitions import ensure_partitions
from tallystick.ledger.seal import seal
from tallystick.reservations.lanes import Lanes
from tests.ledger.money import broken_laws, customer

TABLES = (
    *("transfer", "usage_record", "usage_event", "usage_event_register", "ledger_block", "operation", "catalog_entry"),
    "subscription_event",
    "audit_event",
)


async def guarded_tables(connection: asyncpg.Connection) -> list[str]:
    rows = await connection.fetch(
        "select inhrelid::regclass::text as name from pg_inherits join pg_class on oid = inhrelid where relkind = 'r'"
    )
    return [*TABLES, *(row["name"] for row in rows)]


@pytest.fixture
async def history(pool: asyncpg.Pool, connection: asyncpg.Connection, lanes: Lanes) -> None:
    """Something in each of the ledger's own tables."""
    await ensure_partitions(connection, months_ahead=5)
    await lanes.deduct(new_id(), await customer(connection, 100), 10)
    await record(connection, "test.done", by="clock", subject="test")
    await seal(pool)


async def test_nobody_is_granted_to_change_it(connection: asyncpg.Connection, history: None) -> None:
    granted = await connection.fetch(
        "select relname, privilege_type from pg_class, aclexplode(relacl)"
        " where oid = any($1::text[]::regclass[]) and privilege_type in ('UPDATE', 'DELETE', 'TRUNCATE')",
        await guarded_tables(connection),
    )
    assert granted == []


async def test_with_the_grants_given_back_the_triggers_refuse(connection: asyncpg.Connection, history: None) -> None:
    for table in await guarded_tables(connection):
        await connection.execute(f"grant all on {table} to current_user")
        with pytest.raises(asyncpg.RestrictViolationError):
            await connection.execute(f"truncate {table}")
    for table, key in KEYS.items():
        for statement in (f"delete from {table}", f"update {table} set {key} = {key}"):
            with pytest.raises(asyncpg.RestrictViolationError):
                await connection.execute(statement)
    assert await broken_laws(connection) == {}


KEYS = {"transfer": "amount", "ledger_block": "number", "operation": "id", "audit_event": "act"}


async def test_a_partition_refuses_what_its_parent_refuses(connection: asyncpg.Connection, history: None) -> None:
    partition = await connection.fetchval("select tableoid::regclass::text from transfer limit 1")
    await connection.execute(f"grant all on {partition} to current_user")
    for statement in (f"delete from {partition}", f"update {partition} set amount = amount + 1"):
        with pytest.raises(asyncpg.RestrictViolationError):
            await connection.execute(statement)
