"""Mails go to a real mail server, once; again where it does not take them; given up after a day."""

import asyncio
import email
import email.policy
import socket
from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import asyncpg
import pytest
from aiosmtpd.controller import Controller
from aiosmtpd.smtp import AuthResult, LoginPassword

from tallystick.base.errors import Conflict, Misconfigured, NotFound
from tallystick.notices import mail
from tallystick.notices.backoff import MAIL_DELAYS
from tallystick.notices.mail import write_mail
from tallystick.notices.send_mail import send_mails
from tallystick.notices.smtp import MailServer, parse_sender, parse_url

# Of the test's server: it stands on this machine, where there is nobody to listen.
pytestmark = pytest.mark.filterwarnings("ignore:Requiring AUTH while not requiring TLS")
FROM = "Tallystick <billing@example.com>"


class Mailbox:
    """What the mail server was given; `refuses` is what it says instead, by recipient."""

    def __init__(self) -> None:
        self.mails: list[Any] = []
        self.refuses: dict[str, str] = {}

    async def handle_RCPT(self, server: Any, session: Any, envelope: Any, address: str, options: Any) -> str:  # noqa: N802
        if address in self.refuses:
            return self.refuses[address]
        envelope.rcpt_tos.append(address)
        return "250 OK"

    async def handle_DATA(self, server: Any, session: Any, envelope: Any) -> str:  # noqa: N802
        self.mails.append((envelope, email.message_from_bytes(envelope.content, policy=email.policy.default)))
        return "250 OK"


@pytest.fixture
def mailbox() -> Mailbox:
    return Mailbox()


@pytest.fixture
def server(mailbox: Mailbox) -> Iterator[MailServer]:
    def login(_server: Any, _session: Any, _envelope: Any, _mechanism: str, given: LoginPassword) -> AuthResult:
        return AuthResult(success=(given.login, given.password) == (b"ada", b"p@ss/word"), handled=False)

    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    controller = Controller(
        mailbox, hostname="127.0.0.1", port=port, authenticator=login, auth_required=True, auth_require_tls=False
    )
    controller.start()
    yield parse_url(f"smtp://ada:p%40ss%2Fword@127.0.0.1:{port}")
    controller.stop()


async def pass_time(connection: asyncpg.Connection) -> None:
    await connection.execute("update mail set retry_at = retry_at - interval '1 day'")


async def test_a_mail_arrives_as_it_was_written(
    pool: asyncpg.Pool, connection: asyncpg.Connection, mailbox: Mailbox, server: MailServer
) -> None:
    text = "Grüße,\n\n.a line that begins with a dot\n" + "x" * 1200 + "\n"
    await write_mail(connection, "zoe@example.com", subject="Zoës Rechnung", body=text)
    assert await send_mails(pool, server, FROM) == 1
    ((envelope, got),) = mailbox.mails
    assert (envelope.mail_from, envelope.rcpt_tos) == ("billing@example.com", ["zoe@example.com"])
    assert (got["from"], got["to"], got["subject"]) == (FROM, "zoe@example.com", "Zoës Rechnung")
    assert got.get_content().splitlines() == text.splitlines()
    (kept,) = await mail.newest(connection)
    assert (kept.state, kept.attempts, kept.problem) == ("sent", 1, None)
    assert await send_mails(pool, server, FROM) == 0


async def test_the_same_key_is_written_once(
    pool: asyncpg.Pool, connection: asyncpg.Connection, mailbox: Mailbox, server: MailServer
) -> None:
    for _ in range(2):
        await write_mail(connection, "ada@example.com", subject="Low", body="Low.", key="low 1")
    assert await send_mails(pool, server, FROM) == 1


async def test_a_server_that_is_away_is_tried_again_for_a_day(
    pool: asyncpg.Pool, connection: asyncpg.Connection, mailbox: Mailbox, server: MailServer
) -> None:
    away = parse_url("smtp://127.0.0.1:1")
    await write_mail(connection, "ada@example.com", subject="Low", body="Low.")
    waited = timedelta(0)
    for attempt in range(1, len(MAIL_DELAYS) + 1):
        assert await send_mails(pool, away, FROM) == 0
        (kept,) = await mail.newest(connection)
        assert (kept.state, kept.attempts) == ("waiting", attempt)
        assert kept.problem is not None
        waited += await connection.fetchval("select retry_at - clock_timestamp() from mail")
        assert await send_mails(pool, server, FROM) == 0
        await pass_time(connection)
    assert timedelta(hours=20) < waited < timedelta(hours=30)
    await send_mails(pool, away, FROM)
    (kept,) = await mail.newest(connection)
    assert (kept.state, kept.attempts) == ("failed", len(MAIL_DELAYS) + 1)
    await pass_time(connection)
    assert await send_mails(pool, server, FROM) == 0
    assert (await mail.retry(connection, kept.seq)).state == "waiting"
    assert await send_mails(pool, server, FROM) == 1
    with pytest.raises(Conflict):
        await mail.retry(connection, kept.seq)
    with pytest.raises(NotFound):
        await mail.find(connection, kept.seq + 1)


async def test_one_that_is_refused_does_not_keep_the_others(
    pool: asyncpg.Pool, connection: asyncpg.Connection, mailbox: Mailbox, server: MailServer
) -> None:
    mailbox.refuses = {"nobody@example.com": "550 no such mailbox", "busy@example.com": "451 come back later"}
    for name in ("nobody", "busy", "ada"):
        await write_mail(connection, f"{name}@example.com", subject="Low", body="Low.")
    await write_mail(connection, "eve@example.com", subject="Low\r\nBcc: all@example.com", body="Low.")
    assert await send_mails(pool, server, FROM) == 1
    found = {one.recipient: (one.state, one.problem) for one in await mail.newest(connection)}
    assert found["nobody@example.com"] == ("failed", "550 no such mailbox")
    assert found["busy@example.com"] == ("waiting", "451 come back later")
    assert found["ada@example.com"] == ("sent", None)
    assert found["eve@example.com"][0] == "failed"
    assert [one.recipient for one in await mail.newest(connection, state="waiting")] == ["busy@example.com"]
    assert len(mailbox.mails) == 1


async def test_two_senders_send_each_mail_once(
    pool: asyncpg.Pool, connection: asyncpg.Connection, mailbox: Mailbox, server: MailServer
) -> None:
    for n in range(30):
        await write_mail(connection, f"user{n}@example.com", subject="Low", body="Low.")
    assert sum(await asyncio.gather(*(send_mails(pool, server, FROM) for _ in range(3)))) == 30
    assert len({got["message-id"] for _envelope, got in mailbox.mails}) == len(mailbox.mails) == 30


async def test_a_wrong_password_is_said_and_not_shown(
    pool: asyncpg.Pool, connection: asyncpg.Connection, server: MailServer
) -> None:
    wrong = parse_url(f"smtp://ada:hunter2-and-more@127.0.0.1:{server.port}")
    await write_mail(connection, "ada@example.com", subject="Low", body="Low.")
    assert await send_mails(pool, wrong, FROM) == 0
    (kept,) = await mail.newest(connection)
    assert kept.state == "waiting"
    assert kept.problem is not None
    assert kept.problem.startswith("535")
    assert "hunter2" not in kept.problem


@pytest.mark.parametrize(
    ("url", "told"),
    [
        ("smtp://mail.example.com", ("mail.example.com", 25, False, False, None)),
        ("smtp://u:p@mail.example.com?starttls=true", ("mail.example.com", 587, False, True, "u")),
        ("smtps://u%40x:p@mail.example.com", ("mail.example.com", 465, True, False, "u@x")),
        ("smtps://mail.example.com:2465?starttls=true", ("mail.example.com", 2465, True, False, None)),
        ("smtp://u:p@localhost:1025", ("localhost", 1025, False, False, "u")),
    ],
)
def test_what_a_url_says(url: str, told: tuple[object, ...]) -> None:
    found = parse_url(url)
    assert (found.host, found.port, found.tls, found.starttls, found.user) == told


@pytest.mark.parametrize(
    "url",
    [
        "", "mail.example.com", "http://mail.example.com", "smtp://", "smtp://h:99999", "smtp://h?starttls=yes",
        "smtp://h?tls=true", "smtp://h?starttls", "smtp://u:hunter2@mail.example.com",
    ],
)  # fmt: skip
def test_a_url_that_says_nothing_clear_is_refused(url: str) -> None:
    with pytest.raises(Misconfigured) as refused:
        parse_url(url)
    assert "hunter2" not in str(refused.value)


@pytest.mark.parametrize("text", ["", "Tallystick", "a@b@c", "a@b\r\nBcc: c@d", "Zoë <zoë@example.com>"])
def test_a_sender_that_is_no_address_is_refused(text: str) -> None:
    with pytest.raises(Misconfigured):
        parse_sender(text)
