"""What goes wrong under a gateway: it is killed, in a process of its own, or its database goes away."""

import asyncio
import contextlib
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import asyncpg
import httpx
from gateway_provider import FakeProvider
from gateway_world import Customer, World, body, run_world

from tallystick.gateway.journal import Dispatched, read
from tests.patience import PATIENCE_S, eventually


@contextlib.asynccontextmanager
async def gateway_process(dsn: str, folder: Path) -> AsyncIterator[tuple[asyncio.subprocess.Process, str]]:
    script = Path(__file__).with_name("gateway_process.py")
    process = await asyncio.create_subprocess_exec(
        sys.executable, str(script), dsn, str(folder), stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT
    )
    assert process.stdout is not None
    try:
        async with asyncio.timeout(PATIENCE_S):
            while not (line := (await process.stdout.readline()).decode()).startswith("http"):
                assert line, "the gateway did not start"
        yield process, line.strip()
    finally:
        with contextlib.suppress(ProcessLookupError):
            process.kill()
        await process.communicate()


async def start_call(base_url: str, customer: Customer, **fields: Any) -> "asyncio.Task[Any]":
    async def call() -> Any:
        async with httpx.AsyncClient(base_url=base_url, timeout=PATIENCE_S) as client:
            headers = {"authorization": f"Bearer {customer.secret}"}
            with contextlib.suppress(httpx.TransportError):
                return await client.post("/chat/completions", json=body(**fields), headers=headers)

    return asyncio.create_task(call())


async def arrived(provider: FakeProvider, calls: int) -> None:
    await eventually(lambda: len(provider.calls) >= calls)


async def in_progress(folder: Path, streams: int) -> None:
    """Until the journal of the gateway tells of so many streams how far they have come."""

    def are_told() -> bool:
        calls = [call for path in folder.glob("*.journal") for call in read(path).open.values()]
        begun = [one for one in calls if isinstance(one, Dispatched) and one.stream and one.usage.output_tokens < 100]
        return len([one for one in begun if one.usage.output_tokens >= 5]) == streams

    await eventually(are_told)


async def prepared(
    dsn: str, pool: asyncpg.Pool, folder: Path, stack: contextlib.AsyncExitStack, plans: str = ""
) -> FakeProvider:
    provider = FakeProvider()
    await provider.start()
    stack.push_async_callback(provider.stop)
    async with run_world(dsn, pool, folder, provider=provider, plans=plans):
        pass  # publishes the catalog
    return provider


class Database:
    """Takes the test's database away and gives it back, while the server it is on goes on."""

    def __init__(self, server_dsn: str, dsn: str) -> None:
        self._server_dsn, self._name = server_dsn, dsn.rsplit("/", 1)[1]

    async def away(self) -> None:
        await self._run(
            f'alter database "{self._name}" with allow_connections false',
            f"select pg_terminate_backend(pid) from pg_stat_activity where datname = '{self._name}'",
        )

    async def back(self) -> None:
        await self._run(f'alter database "{self._name}" with allow_connections true')

    async def _run(self, *statements: str) -> None:
        connection = await asyncpg.connect(self._server_dsn)
        for statement in statements:
            await connection.execute(statement)
        await connection.close()


@contextlib.asynccontextmanager
async def fault(server_dsn: str, dsn: str) -> AsyncIterator[Database]:
    database = Database(server_dsn, dsn)
    try:
        yield database
    finally:
        await database.back()


async def settled(world: World, customer: Customer) -> None:
    async def all_is_done() -> bool:
        return await world.app.unready() is None and not await world.open_holds(customer)

    await eventually(all_is_done)
