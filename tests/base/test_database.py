from pathlib import Path

import asyncpg
import pytest

from tallystick.base.database import load_queries, open_pool


async def test_the_pool_is_named_and_bounded(dsn: str) -> None:
    pool = await open_pool(dsn, size_max=3, application="books")
    try:
        assert pool.get_max_size() == 3
        assert await pool.fetchval("select current_setting('application_name')") == "books"
    finally:
        await pool.close()


async def test_a_connection_is_handed_on_without_a_round_trip(dsn: str) -> None:
    pool = await open_pool(dsn, size_max=1)
    try:
        async with pool.acquire() as connection:
            await connection.execute("set application_name to 'kept'")
        # The pool's own clean-up would have reset it.
        assert await pool.fetchval("select current_setting('application_name')") == "kept"
    finally:
        await pool.close()


async def test_what_a_failed_transaction_did_does_not_reach_the_next_user(dsn: str) -> None:
    pool = await open_pool(dsn, size_max=1)
    try:
        await pool.execute("create table written (n int)")

        async def fail_half_way() -> None:
            async with pool.acquire() as connection, connection.transaction():
                await connection.execute("insert into written values (1)")
                await connection.execute("select 1 / 0")

        with pytest.raises(asyncpg.DivisionByZeroError):
            await fail_half_way()
        assert await pool.fetchval("select count(*) from written") == 0
    finally:
        await pool.close()


async def test_queries_stand_beside_the_module_that_runs_them(dsn: str, tmp_path: Path) -> None:
    (tmp_path / "sum.sql").write_text("-- name: add(a, b)$\n-- Both of them.\nselect :a::int + :b::int;\n")
    queries = load_queries(str(tmp_path / "sum.py"), "sum.sql")
    connection = await asyncpg.connect(dsn)
    try:
        assert await queries.add(connection, a=1, b=2) == 3
    finally:
        await connection.close()
