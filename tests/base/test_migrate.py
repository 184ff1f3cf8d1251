import asyncio

import asyncpg
import pytest

from tallystick.base.errors import Misconfigured
from tallystick.base.migrate import migrate

SHAPE = """
select table_name, column_name, data_type, is_nullable, column_default from information_schema.columns
where table_schema = 'public' order by table_name, ordinal_position
"""


async def shape(dsn: str) -> list[tuple[object, ...]]:
    connection = await asyncpg.connect(dsn)
    try:
        return [tuple(row) for row in await connection.fetch(SHAPE)]
    finally:
        await connection.close()


async def test_an_empty_database_gets_the_schema_once(empty_dsn: str) -> None:
    assert await shape(empty_dsn) == []
    await migrate(empty_dsn)
    first = await shape(empty_dsn)
    assert {"ledger_account", "transfer", "hold", "usage_record"} <= {row[0] for row in first}
    await migrate(empty_dsn)
    assert await shape(empty_dsn) == first


async def test_many_processes_may_migrate_at_once(empty_dsn: str) -> None:
    await asyncio.gather(*(migrate(empty_dsn) for _ in range(4)))
    connection = await asyncpg.connect(empty_dsn)
    try:
        assert await connection.fetchval("select count(*) from alembic_version") == 1
    finally:
        await connection.close()


async def test_a_database_of_a_newer_version_is_left_alone(dsn: str) -> None:
    connection = await asyncpg.connect(dsn)
    try:
        await connection.execute("update alembic_version set version_num = '9999'")
    finally:
        await connection.close()
    before = await shape(dsn)
    with pytest.raises(Misconfigured, match="run a newer version"):
        await migrate(dsn)
    assert await shape(dsn) == before


async def test_no_table_holds_money_in_floating_point_or_numeric(dsn: str) -> None:
    inexact = [row for row in await shape(dsn) if row[2] in {"real", "double precision", "numeric", "money"}]
    assert inexact == []
