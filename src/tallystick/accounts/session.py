"""Sessions: a person signed in, until the session expires, is signed out, or the password changes.

A session is looked up in the database each time, so its end is felt at once by every process.
"""

from datetime import datetime
from typing import Final

import asyncpg
import msgspec

from tallystick.accounts import secret_token
from tallystick.accounts.member import Role
from tallystick.base.database import load_queries
from tallystick.base.errors import NotFound, Unauthorized
from tallystick.base.ids import is_text_id

DAYS: Final = 14
_SIGN_IN: Final = "Not signed in, or the session has ended. Sign in again."

queries = load_queries(__file__, "session.sql")


class NewSession(msgspec.Struct, frozen=True, kw_only=True):
    """The token is shown this once; only its digest is kept."""

    token: str
    expires_at: datetime


class SignedIn(msgspec.Struct, frozen=True, kw_only=True):
    """Who is signed in, and the organization they act for, with their role in it."""

    user_id: str
    email: str
    organization: str
    account: int
    organization_state: str
    role: Role


async def start(connection: asyncpg.Connection, user_id: str, *, password_hash: str) -> NewSession:
    """A new session for the user whose password was checked against `password_hash`; raises Unauthorized when that is
    the user's password no more."""
    token = secret_token.new_token(secret_token.SESSION)
    expires_at = await queries.start_session(
        connection, hash=secret_token.digest(token), user_id=user_id, password_hash=password_hash, days=DAYS
    )
    if expires_at is None:
        raise Unauthorized("The password was changed in the meantime. Sign in again.")
    await queries.drop_old_sessions_of(connection, user_id=user_id)
    return NewSession(token=token, expires_at=expires_at)


async def find(connection: asyncpg.Connection, token: str, *, organization: str | None = None) -> SignedIn:
    """Who holds this token. They act for their personal organization, or for another one they are a member of.

    Raises Unauthorized for every token that does not work, and NotFound for an organization that is not theirs.
    """
    if not secret_token.is_token(token, secret_token.SESSION):
        raise Unauthorized(_SIGN_IN)
    if organization is not None and not is_text_id(organization):
        organization = ""  # no organization has this id; the session is still asked for first
    row = await queries.find_session(connection, hash=secret_token.digest(token), organization=organization)
    if row is None:
        raise Unauthorized(_SIGN_IN)
    if row["organization"] is None:
        raise NotFound("There is no such organization.")
    return msgspec.convert(dict(row), SignedIn)


async def end(connection: asyncpg.Connection, token: str) -> None:
    """Sign out: this token never works again."""
    await queries.end_session(connection, hash=secret_token.digest(token))


async def end_all(connection: asyncpg.Connection, user_id: str) -> None:
    """Every session of a user ends, on every device."""
    await queries.end_sessions_of(connection, user_id=user_id)
