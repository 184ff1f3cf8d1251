"""Users: people who sign up, sign in and change their password."""

from typing import Final

import asyncpg
import msgspec

from tallystick.accounts import invitation as invitations
from tallystick.accounts import member, organization, session, throttle
from tallystick.accounts.email_address import normalize_email
from tallystick.accounts.password import hash_password, matches
from tallystick.accounts.session import NewSession
from tallystick.base.database import load_queries
from tallystick.base.errors import Conflict, InvalidInput, Unauthorized
from tallystick.base.ids import text_id

_WRONG: Final = "Wrong e-mail or password."

queries = load_queries(__file__, "user.sql")


class EmailTaken(Conflict):
    """There is a user with this e-mail already."""

    code = "email_taken"


class Welcome(msgspec.Struct, frozen=True, kw_only=True):
    """Someone who has just signed up or in."""

    user_id: str
    organization_id: str
    session: NewSession


async def sign_up(
    pool: asyncpg.Pool,
    *,
    email: str,
    password: str,
    name: str | None = None,
    address: str | None = None,
    invitation: str | None = None,
) -> Welcome:
    """A new user with a personal organization, of which they are the owner, and a first session.

    Raises EmailTaken for an e-mail that is known. That tells a stranger that it is known, which a sign-up without
    confirmation by mail cannot avoid; `address`, where the request came from, is throttled so that nobody asks a lot.
    `invitation`, the token of one to this e-mail, is accepted with it; who signs up is not kept where it cannot be.
    """
    email = normalize_email(email)
    if address is not None:
        await throttle.count(pool, throttle.SIGN_UP_BY_ADDRESS, throttle.network_of(address))
    if invitation is not None:
        # First, so that a made-up one neither costs a hash nor finds out whose address is known.
        async with pool.acquire() as connection:
            invitations.require_address(await invitations.look(connection, invitation), email)
    password_hash = await hash_password(password)
    user_id = text_id("user")
    async with pool.acquire() as connection, connection.transaction():
        personal = await organization.create(connection, name=name if name is not None else email, by=user_id)
        try:
            await queries.insert_user(
                connection, id=user_id, email=email, password_hash=password_hash, personal_organization=personal.id
            )
        except asyncpg.UniqueViolationError as error:
            raise EmailTaken("There is a user with this e-mail already. Sign in instead.") from error
        await member.add(connection, organization=personal.id, user_id=user_id, role=member.Role.OWNER, by=user_id)
        if invitation is not None:
            await invitations.accept(connection, invitation, user_id=user_id, email=email)
        first = await session.start(connection, user_id, password_hash=password_hash)
    return Welcome(user_id=user_id, organization_id=personal.id, session=first)


async def sign_in(pool: asyncpg.Pool, *, email: str, password: str, address: str) -> Welcome:
    """A session for whoever knows the password. An unknown e-mail and a wrong password are one answer after the same
    work: Unauthorized, and RateLimited after too many."""
    email = normalize_email(email)
    network = throttle.network_of(address)
    # By address first: someone who was refused for that must not use up the attempts of the e-mail's owner.
    await throttle.count(pool, throttle.SIGN_IN_BY_ADDRESS, network)
    await throttle.count(pool, throttle.SIGN_IN_BY_EMAIL, email)
    user = await queries.find_user_by_email(pool, email=email)
    if not await matches(user["password_hash"] if user else None, password):
        raise Unauthorized(_WRONG)
    async with pool.acquire() as connection, connection.transaction():
        started = await session.start(connection, user["id"], password_hash=user["password_hash"])
    await throttle.take_back(pool, throttle.SIGN_IN_BY_ADDRESS, network)
    await throttle.forget(pool, throttle.SIGN_IN_BY_EMAIL, email)
    return Welcome(user_id=user["id"], organization_id=user["personal_organization"], session=started)


async def change_password(pool: asyncpg.Pool, user_id: str, *, old: str, new: str) -> NewSession:
    """Replace the password. Every session of the user ends, and the one returned begins."""
    await throttle.count(pool, throttle.PASSWORD_BY_USER, user_id)
    user = await queries.find_user(pool, id=user_id)
    if not await matches(user["password_hash"] if user else None, old, "old_password"):
        raise InvalidInput("old_password", "is not your password")
    new_hash = await hash_password(new, "new_password")
    async with pool.acquire() as connection, connection.transaction():
        if not await queries.replace_password(
            connection, id=user_id, checked_hash=user["password_hash"], new_hash=new_hash
        ):
            raise Conflict("The password was changed in the meantime.")
        await session.end_all(connection, user_id)
        started = await session.start(connection, user_id, password_hash=new_hash)
    await throttle.forget(pool, throttle.PASSWORD_BY_USER, user_id)
    return started
