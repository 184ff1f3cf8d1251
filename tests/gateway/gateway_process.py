"""A gateway in a process of its own, to be killed: `python gateway_process.py DSN JOURNALS`. Prints its address."""

import asyncio
import contextlib
import signal
import sys
from pathlib import Path

import uvloop

from tallystick.accounts.authenticate import KeyRing
from tallystick.base.changes import Changes
from tallystick.base.database import open_pool
from tallystick.catalog.read import load_book
from tallystick.gateway.journal import Journal
from tallystick.gateway.limits import Limits
from tallystick.gateway.rates import Rates
from tallystick.gateway.server import GatewayApp
from tallystick.gateway.upstream import Upstream, UpstreamLimits
from tallystick.reservations.lanes import Lanes
from tallystick.subscriptions.live import LiveConstraints

sys.path.insert(0, str(Path(__file__).parent))

from gateway_server import serve


async def main(dsn: str, folder: str) -> None:
    stopped = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stopped.set)
    async with contextlib.AsyncExitStack() as stack:
        pool = await stack.enter_async_context(await open_pool(dsn))
        async with pool.acquire() as connection:
            book = await load_book(connection, lambda _reference: "sk-provider-0123456789abcdef")
        changes, lanes = Changes(dsn), Lanes(dsn, patience_s=60)
        keyring, constraints = KeyRing(pool, changes), LiveConstraints(pool, changes)
        for part in (changes, lanes):
            await part.start()
            stack.push_async_callback(part.stop)
        app = GatewayApp(
            pool=pool,
            lanes=lanes,
            keyring=keyring,
            constraints=constraints,
            rates=Rates(),
            book=lambda: book,
            upstream=Upstream(UpstreamLimits()),
            journal=Journal(Path(folder)),
            limits=Limits(progress_s=0.05, settle_s=60, shutdown_s=60),
        )
        await app.start()
        async with serve(app) as base_url:
            print(base_url, flush=True)  # noqa: T201 - how the test learns it
            await stopped.wait()
            await app.shutdown()


if __name__ == "__main__":
    uvloop.run(main(*sys.argv[1:3]))
