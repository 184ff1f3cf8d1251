"""Hand the mails that are due to the mail server; again, for a day, where it does not take them."""

import asyncio
import secrets
from datetime import timedelta
from typing import Final

import asyncpg
import msgspec
import structlog

from tallystick.base.database import load_queries
from tallystick.notices.backoff import MAIL_DELAYS, next_delay
from tallystick.notices.mail import Mail
from tallystick.notices.smtp import Handed, MailServer, hand_over

queries = load_queries(__file__, "send_mail.sql")
log = structlog.get_logger()

_BATCH: Final = 10
# Longer than a batch takes with a server that is slow to answer each time.
_LEASE: Final = timedelta(minutes=15)


async def send_mails(pool: asyncpg.Pool, server: MailServer, sender: str) -> int:
    """Returns how many were taken by the server. May run on several hosts at once: what one has, the others leave. If
    this process dies between the server's word and ours, a mail is sent again, with the same Message-ID."""
    sent = 0
    while True:
        rows = queries.take(pool, most=_BATCH, lease=_LEASE)
        mails = [msgspec.convert(dict(row), Mail) async for row in rows]
        if not mails:
            return sent
        handed = await asyncio.to_thread(hand_over, server, sender, mails)
        for mail, result in zip(mails, handed, strict=True):
            await _keep(pool, mail, result)
        taken = sum(result.problem is None for result in handed)
        sent += taken
        if not taken:
            # A server that takes none of them now need not be asked for all that wait.
            return sent


async def _keep(pool: asyncpg.Pool, mail: Mail, result: Handed) -> None:
    delay = None
    if result.problem is not None and not result.for_good:
        delay = next_delay(mail.attempts + 1, secrets.randbelow(100), delays=MAIL_DELAYS)
    state = "sent" if result.problem is None else "failed" if delay is None else "waiting"
    if state == "failed":
        log.error("mail_failed", mail=mail.seq, attempts=mail.attempts + 1, problem=result.problem)
    await queries.keep_result(
        pool,
        seq=mail.seq,
        attempts=mail.attempts,
        state=state,
        problem=result.problem and result.problem.replace("\0", " "),
        delay=delay or timedelta(0),
    )
