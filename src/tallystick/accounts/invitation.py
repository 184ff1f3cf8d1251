"""Invitations: a link by mail that makes whoever has that address a member, once, within a week."""

from collections.abc import Sequence
from datetime import datetime
from typing import Final

import asyncpg
import msgspec

from tallystick.accounts import member, secret_token
from tallystick.accounts.email_address import normalize_email
from tallystick.accounts.member import AlreadyMember, Role, may_grant
from tallystick.accounts.membership import authority, require_grant
from tallystick.accounts.organization import find, lock_organization
from tallystick.base.database import load_queries
from tallystick.base.errors import Conflict, Forbidden, NotFound
from tallystick.base.ids import is_text_id, text_id
from tallystick.ledger import audit
from tallystick.notices.mail import write_mail

DAYS: Final = 7
OPEN_MAX: Final = 200
_NAME_CHARS_MAX: Final = 80

queries = load_queries(__file__, "invitation.sql")


class Invitation(msgspec.Struct, frozen=True, kw_only=True):
    id: str
    email: str
    role: Role
    invited_by: str
    created_at: datetime
    expires_at: datetime


class Offer(msgspec.Struct, frozen=True, kw_only=True):
    """What whoever has the link may know of it."""

    id: str
    organization: str
    organization_name: str
    email: str
    role: Role
    invited_by: str
    """A user's id."""
    inviter: str
    """Their e-mail."""


class InvitationGone(NotFound):
    """There is no such invitation: it was used, revoked or replaced, has expired, or never was."""

    code = "invitation_gone"


class OtherAddress(Forbidden):
    """The invitation is for another e-mail address than that of whoever is signed in."""

    code = "other_address"


class TooManyInvitations(Conflict):
    """The organization has as many open invitations as it may have; revoke one, or wait until one is accepted."""

    code = "too_many_invitations"


async def invite(
    connection: asyncpg.Connection, organization: str, *, email: str, role: Role, by: str, public_url: str
) -> Invitation:
    """Invite whoever has this address, known here or not; an open invitation of the same address ends."""
    email = normalize_email(email)
    token = secret_token.new_token(secret_token.INVITATION)
    async with connection.transaction():
        await lock_organization(connection, organization)
        require_grant(await authority(connection, organization, by), role)
        if await queries.is_member(connection, organization=organization, email=email):
            raise AlreadyMember("Who has this address is a member of the organization already.")
        await queries.replace_open(connection, organization=organization, email=email)
        if await queries.count_open(connection, organization=organization) >= OPEN_MAX:
            raise TooManyInvitations(f"An organization can have {OPEN_MAX} open invitations.")
        row = await queries.insert_invitation(
            connection,
            id=text_id("inv"),
            organization=organization,
            email=email,
            role=role,
            hash=secret_token.digest(token),
            invited_by=by,
            days=DAYS,
        )
        made = msgspec.convert(dict(row), Invitation)
        after = {"email": email, "role": role}
        await audit.record(
            connection, "invitation.created", by=by, subject=made.id, organization=organization, after=after
        )
        await _write(connection, made, (await find(connection, organization)).name, f"{public_url}/invitations/{token}")
    return made


async def list_open(connection: asyncpg.Connection, organization: str) -> Sequence[Invitation]:
    """Invitations that can still be accepted, the newest first."""
    rows = queries.list_open(connection, organization=organization, row_limit=OPEN_MAX)
    return [msgspec.convert(dict(row), Invitation) async for row in rows]


async def revoke(connection: asyncpg.Connection, organization: str, invitation: str, *, by: str) -> None:
    """Its link leads nowhere any more. Raises NotFound for one that is not open, or another organization's."""
    async with connection.transaction():
        await lock_organization(connection, organization)
        own = await authority(connection, organization, by)
        member.require(own, member.Permission.MEMBERS)
        revoked = is_text_id(invitation) and await queries.revoke(connection, id=invitation, organization=organization)
        if not revoked:
            raise NotFound("There is no such open invitation.")
        await audit.record(connection, "invitation.revoked", by=by, subject=invitation, organization=organization)


async def look(connection: asyncpg.Connection, token: str) -> Offer:
    """What a link offers. Raises InvitationGone for every one that cannot be accepted."""
    row = None
    if secret_token.is_token(token, secret_token.INVITATION):
        row = await queries.find_open(connection, hash=secret_token.digest(token))
    # Somebody who was removed, or may do less now, must not let others in by an invitation from before.
    if row is None or not may_grant(Role(row["inviter_role"]), Role(row["role"])):
        raise InvitationGone("This invitation cannot be used any more. Ask for a new one.")
    return msgspec.convert(dict(row), Offer)


async def accept(connection: asyncpg.Connection, token: str, *, user_id: str, email: str) -> Offer:
    """Make the user, who has this e-mail, a member; an invitation is accepted once."""
    async with connection.transaction():
        await lock_organization(connection, (await look(connection, token)).organization)
        # Again, under the lock: of two who accept, or one who revokes meanwhile, one comes first.
        offer = await look(connection, token)
        require_address(offer, email)
        await member.add(connection, organization=offer.organization, user_id=user_id, role=offer.role, by=user_id)
        await queries.mark_accepted(connection, id=offer.id, user_id=user_id)
        after = {"invited_by": offer.invited_by, "role": offer.role}
        await audit.record(
            connection, "invitation.accepted", by=user_id, subject=offer.id, organization=offer.organization,
            after=after,
        )  # fmt: skip
    return offer


def require_address(offer: Offer, email: str) -> None:
    """Raises OtherAddress."""
    if offer.email != email:
        raise OtherAddress("This invitation is for another e-mail address. Sign in with that one.")


async def _write(connection: asyncpg.Connection, made: Invitation, organization_name: str, link: str) -> None:
    inviter = await queries.email_of(connection, user_id=made.invited_by)
    name = organization_name[:_NAME_CHARS_MAX]
    body = (
        f'{inviter} invites you to join the organization "{name}" in the role {made.role}.\n\n'
        f"{link}\n\n"
        f"The link works once, until {made.expires_at:%Y-%m-%d %H:%M} UTC, and only for {made.email}.\n"
        "If you do not know what this is about, do nothing.\n"
    )
    await write_mail(
        connection, made.email, subject=f"{inviter} invites you to an organization", body=body, key=made.id
    )
