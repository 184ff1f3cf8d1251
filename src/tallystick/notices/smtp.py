"""The mail server: what its URL says, and how mails are handed to it."""

import smtplib
import ssl
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from email.message import EmailMessage
from email.policy import SMTP
from email.utils import format_datetime, parseaddr
from ipaddress import ip_address
from typing import Final
from urllib.parse import parse_qsl, unquote, urlsplit

import msgspec

from tallystick.base.errors import Misconfigured
from tallystick.notices.mail import Mail

_TIMEOUT_S: Final = 30
_FORM: Final = "SMTP_URL must be like smtp://user:password@host:587?starttls=true, or smtps://user:password@host."


class MailServer(msgspec.Struct, frozen=True, kw_only=True):
    """`tls` is from the first byte on, `starttls` before anything is said that others should not hear."""

    host: str
    port: int
    tls: bool
    starttls: bool
    user: str | None
    password: str | None


class Handed(msgspec.Struct, frozen=True, kw_only=True):
    """What came of one mail: `problem` is None where the server took it; then, or where it refused it `for_good`, it is
    not tried again."""

    problem: str | None = None
    for_good: bool = False


def parse_url(url: str) -> MailServer:
    """Raises Misconfigured, without the password."""
    try:
        parts = urlsplit(url)
        options = dict(parse_qsl(parts.query, strict_parsing=bool(parts.query)))
        port = parts.port
    except ValueError:
        raise Misconfigured(_FORM) from None
    starttls = options.pop("starttls", "false")
    tls = parts.scheme == "smtps"
    if parts.scheme not in {"smtp", "smtps"} or not parts.hostname or options or starttls not in {"true", "false"}:
        raise Misconfigured(_FORM)
    user, password = (unquote(text) if text else None for text in (parts.username, parts.password))
    if password and not (tls or starttls == "true" or _is_here(parts.hostname)):
        raise Misconfigured("SMTP_URL has a password that would be sent in the clear: add ?starttls=true.")
    return MailServer(
        host=parts.hostname,
        port=port or (465 if tls else 587 if starttls == "true" else 25),
        tls=tls,
        starttls=starttls == "true" and not tls,
        user=user,
        password=password,
    )


def parse_sender(text: str) -> str:
    """The address of a From header such as "Tallystick <billing@example.com>". Raises Misconfigured."""
    _name, address = parseaddr(text)
    if not (address.isascii() and address.isprintable() and address.count("@") == 1 and text.isprintable()):
        raise Misconfigured("TALLYSTICK_MAIL_FROM must be an address such as Tallystick <billing@example.com>.")
    return address


def hand_over(server: MailServer, sender: str, mails: Sequence[Mail]) -> list[Handed]:
    """Give the server these mails over one connection; one result for each. Blocks, so call it in a thread."""
    handed: list[Handed] = []
    try:
        with _session(server) as session:
            # One by one: what was taken before a failure stays taken.
            handed.extend(_hand(session, sender, mail) for mail in mails)
    except (OSError, smtplib.SMTPException) as error:
        handed += [Handed(problem=_said(error))] * (len(mails) - len(handed))
    return handed


@contextmanager
def _session(server: MailServer) -> Iterator[smtplib.SMTP]:
    trust = ssl.create_default_context()
    opened: smtplib.SMTP
    if server.tls:
        opened = smtplib.SMTP_SSL(server.host, server.port, timeout=_TIMEOUT_S, context=trust)
    else:
        opened = smtplib.SMTP(server.host, server.port, timeout=_TIMEOUT_S)
    with opened:
        if server.starttls:
            opened.starttls(context=trust)
        if server.user is not None:
            opened.login(server.user, server.password or "")
        yield opened


def _hand(session: smtplib.SMTP, sender: str, mail: Mail) -> Handed:
    try:
        message = _message(sender, mail)
    except ValueError as error:
        return Handed(problem=f"It cannot be written as a mail: {error}.", for_good=True)
    try:
        session.send_message(message, parse_sender(sender), [mail.recipient])
    except smtplib.SMTPRecipientsRefused as error:
        code, _text = error.recipients[mail.recipient]
        return Handed(problem=_said(error), for_good=500 <= code < 600)
    except smtplib.SMTPDataError as error:
        return Handed(problem=_said(error), for_good=500 <= error.smtp_code < 600)
    except smtplib.SMTPSenderRefused as error:
        # For us to mend, so that nothing is given up for it at once.
        return Handed(problem=_said(error))
    return Handed()


def _message(sender: str, mail: Mail) -> EmailMessage:
    message = EmailMessage(policy=SMTP)
    message["From"] = sender
    message["To"] = mail.recipient
    message["Subject"] = mail.subject
    message["Date"] = format_datetime(mail.at)
    # The same for each attempt: one that came twice is seen to be one.
    domain = parse_sender(sender).rpartition("@")[2]
    message["Message-ID"] = f"<{mail.seq}.{int(mail.at.timestamp())}@{domain}>"
    message["Auto-Submitted"] = "auto-generated"
    message.set_content(mail.body)
    return message


def _said(error: Exception) -> str:
    """What a server answered, or what stood in the way; never what we sent."""
    if isinstance(error, smtplib.SMTPRecipientsRefused):
        code, text = next(iter(error.recipients.values()))
        return f"{code} {text.decode('utf-8', 'replace')}"[:200]
    if isinstance(error, smtplib.SMTPResponseException):
        said = error.smtp_error
        return f"{error.smtp_code} {said.decode('utf-8', 'replace') if isinstance(said, bytes) else said}"[:200]
    return str(error)[:200] or type(error).__name__


def _is_here(host: str) -> bool:
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
