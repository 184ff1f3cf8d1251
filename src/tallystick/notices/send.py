"""Send what is due to the webhooks of organizations: signed, many at once, never inside a transaction.

A message is taken by pushing the time of its next attempt a minute ahead: whoever looks meanwhile does not see it, and
if this process dies, somebody sends it then. So it can come more than once, with one id that its receiver knows it by.
"""

import asyncio
import secrets
from datetime import timedelta
from typing import Final

import asyncpg
import msgspec
import structlog

from tallystick.base.database import load_queries
from tallystick.base.errors import TallystickError
from tallystick.base.sealed import Sealer
from tallystick.notices.backoff import next_delay, retry_after
from tallystick.notices.endpoint import disable, signers
from tallystick.notices.fence import Fence
from tallystick.notices.mail import write_mail
from tallystick.notices.post import TIMEOUT_S, Answer, post
from tallystick.notices.signature import headers

queries = load_queries(__file__, "send.sql")
log = structlog.get_logger()

FAILS_FOR: Final = timedelta(days=5)
"""So long all attempts must have failed until the endpoint is disabled."""

_LEASE: Final = timedelta(minutes=1)
_RUNNING_MAX: Final = 50
# Of one endpoint: a slow one does not hold up the others. Of one that fails, one at a time.
_EACH_MAX: Final = 5
_GONE: Final = 410
_GATHER_S: Final = 0.05
# Those who answer within it get all that waits for them in one round.
_LINGER_S: Final = 1.0


class Sender:
    """`timeout_s` is how long a receiver has for its answer."""

    def __init__(self, pool: asyncpg.Pool, sealer: Sealer, fence: Fence, *, timeout_s: int = TIMEOUT_S) -> None:
        self._pool = pool
        self._sealer = sealer
        self._fence = fence
        self._timeout_s = timeout_s
        self._running: dict[asyncio.Task[None], str] = {}

    async def send_due(self) -> int:
        """Start on everything that is due; returns how many that was. Slow ones still run when it returns."""
        started = 0
        while True:
            was_idle = not self._running
            taken = await self._take()
            started += len(taken)
            if taken:
                # What ends at about the same time makes one question to the database.
                await asyncio.wait(self._running, timeout=_GATHER_S)
            elif was_idle:
                return started
            elif self._running:
                done, _ = await asyncio.wait(self._running, timeout=_LINGER_S, return_when=asyncio.FIRST_COMPLETED)
                if not done:
                    return started

    async def finish(self) -> None:
        """Wait for what runs."""
        while self._running:
            await asyncio.wait(self._running)

    async def stop(self) -> None:
        """Give up what runs: it is sent again when its minute is over."""
        for task in self._running:
            task.cancel()
        await self.finish()

    async def _take(self) -> list[asyncpg.Record]:
        if len(self._running) >= _RUNNING_MAX:
            await asyncio.wait(self._running, return_when=asyncio.FIRST_COMPLETED)
        room = _RUNNING_MAX - len(self._running)
        busy = [*set(self._running.values())]
        rows = queries.take(self._pool, busy=busy, each=_EACH_MAX, most=room, lease=_LEASE)
        taken = [row async for row in rows]
        for row in taken:
            task = asyncio.create_task(self._send(row))
            self._running[task] = row["endpoint"]
            task.add_done_callback(self._ended)
        return taken

    def _ended(self, task: asyncio.Task[None]) -> None:
        endpoint = self._running.pop(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            # What is due again in a minute is tried again then; the log says at each time what is wrong.
            log.error("webhook_not_sent", endpoint=endpoint, error=repr(error))

    async def _send(self, row: asyncpg.Record) -> None:
        body = _body(row)
        try:
            secrets_ = signers(self._sealer, row)
        except TallystickError as error:
            # Ours to mend, so that it counts for no attempt of the receiver's.
            log.error("webhook_secret_not_readable", endpoint=row["endpoint"], reason=error.message)  # noqa: TRY400 - said in full
            return
        signed = headers(row["message"], row["now"], body, secrets_)
        told = {**signed, "content-type": "application/json"}
        answer = await post(self._fence, row["url"], body, told, timeout_s=self._timeout_s)
        async with self._pool.acquire() as connection, connection.transaction():
            await _keep(connection, row, answer)


async def _keep(connection: asyncpg.Connection, row: asyncpg.Record, answer: Answer) -> None:
    """What came of an attempt. The endpoint's row is locked before the delivery's, as whoever disables it does."""
    failing_for = await queries.note_health(connection, endpoint=row["endpoint"], taken=answer.taken)
    await queries.note_attempt(connection, delivery=row["id"], status=answer.status, ms=answer.ms, answer=answer.text)
    delay = None
    if not answer.taken and answer.status != _GONE:
        delay = next_delay(row["attempts"] + 1, secrets.randbelow(100), retry_after(answer.retry_after, row["now"]))
    state = "delivered" if answer.taken else "failed" if delay is None else "waiting"
    await queries.end_attempt(connection, id=row["id"], lease=row["lease"], state=state, delay=delay or timedelta(0))
    if answer.status == _GONE:
        await _disable(connection, row, "It answered 410 Gone.")
    elif failing_for is not None and failing_for > FAILS_FOR:
        await _disable(connection, row, f"Every attempt of the last {FAILS_FOR.days} days failed.")


async def _disable(connection: asyncpg.Connection, row: asyncpg.Record, reason: str) -> None:
    if not await queries.is_enabled(connection, endpoint=row["endpoint"]):
        return
    await disable(connection, row["endpoint"], reason)
    log.warning("webhook_disabled", endpoint=row["endpoint"], reason=reason)
    readers = [one["email"] async for one in queries.readers(connection, organization=row["organization"])]
    for reader in readers:
        await write_mail(
            connection,
            reader,
            subject="A webhook of yours was disabled",
            body=(
                f"We no longer send to your webhook {row['endpoint']} ({row['url'].partition('?')[0]}).\n\n"
                f"{reason}\n\nEnable it again with PATCH /api/webhooks/{row['endpoint']}"
                ' {"enabled": true}, and have what it missed sent with'
                f" POST /api/webhooks/{row['endpoint']}/replay.\n"
            ),
        )


def _body(row: asyncpg.Record) -> bytes:
    """The same bytes in every attempt."""
    return msgspec.json.encode({"type": row["type"], "timestamp": row["at"], "data": msgspec.Raw(row["data"].encode())})
