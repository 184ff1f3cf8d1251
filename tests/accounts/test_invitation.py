"""An invitation lets in whom it names, once, within a week, and by somebody who may still invite."""

import asyncio

import pytest

from tallystick.accounts import invitation, member, membership, user
from tallystick.accounts.invitation import InvitationGone, OtherAddress, TooManyInvitations
from tallystick.accounts.member import AlreadyMember, Role
from tallystick.base.errors import Forbidden, InvalidInput, NotFound

URL = "https://pay.example.com"
BOB = "bob@example.com"


@pytest.fixture
async def owner(pool, acme, ada):
    await member.add(pool, organization=acme.id, user_id=ada.user_id, role=Role.OWNER)
    return ada.user_id


@pytest.fixture
async def bob(pool):
    return await user.sign_up(pool, email=BOB, password="correct horse")


@pytest.fixture
def invite(pool, acme, owner):
    """Invite; the token that stands in the mail."""

    async def ask(email=BOB, role=Role.DEVELOPER, by=owner):
        async with pool.acquire() as connection:
            made = await invitation.invite(connection, acme.id, email=email, role=role, by=by, public_url=URL)
        body = await pool.fetchval("select body from mail where key = $1", made.id)
        [link] = [line for line in body.splitlines() if line.startswith(URL)]
        return made, link.removeprefix(f"{URL}/invitations/")

    return ask


@pytest.fixture
def accept(pool):
    async def ask(token, who, email=BOB):
        async with pool.acquire() as connection:
            return await invitation.accept(connection, token, user_id=who.user_id, email=email)

    return ask


async def roles_of(pool, user_id):
    return {one.name: one.role for one in await member.organizations_of(pool, user_id)}


async def test_who_is_invited_becomes_a_member_once(pool, acme, owner, invite, bob, accept):
    made, token = await invite(email=" Bob@Example.com ")
    assert [one.id for one in await invitation.list_open(pool, acme.id)] == [made.id]
    offer = await accept(token, bob)
    assert (offer.organization, offer.role, offer.inviter) == (acme.id, Role.DEVELOPER, "ada@example.com")
    assert (await roles_of(pool, bob.user_id))["Acme"] is Role.DEVELOPER
    with pytest.raises(InvitationGone):
        await accept(token, bob)
    assert await invitation.list_open(pool, acme.id) == []
    acts = await pool.fetch("select act, done_by from audit_event where subject in ($1, $2)", made.id, bob.user_id)
    assert {tuple(act) for act in acts} >= {
        ("invitation.created", owner), ("invitation.accepted", bob.user_id), ("member.added", bob.user_id),
    }  # fmt: skip


async def test_the_mail_tells_who_invites_to_what_and_the_database_no_token(pool, invite):
    _made, token = await invite()
    mail = await pool.fetchrow("select * from mail")
    assert mail["recipient"] == BOB
    assert all(word in mail["body"] for word in ("ada@example.com", "Acme", "developer", BOB))
    rows = await pool.fetch("select invitation::text || audit_event::text as text from invitation, audit_event")
    assert all(token not in row["text"] for row in rows)


async def test_only_who_has_the_address_is_let_in(pool, invite, accept):
    _made, token = await invite()
    eve = await user.sign_up(pool, email="eve@example.com", password="correct horse")
    with pytest.raises(OtherAddress):
        await accept(token, eve, "eve@example.com")
    assert "Acme" not in await roles_of(pool, eve.user_id)


async def test_of_two_who_accept_at_once_one_is_let_in(pool, invite, bob, accept):
    _made, token = await invite()
    ended = await asyncio.gather(*(accept(token, bob) for _ in range(5)), return_exceptions=True)
    assert sum(isinstance(one, InvitationGone | AlreadyMember) for one in ended) == 4
    assert await pool.fetchval("select count(*) from invitation where accepted_at is not null") == 1


async def test_one_signs_up_through_an_invitation(pool, invite):
    _made, token = await invite()
    welcome = await user.sign_up(pool, email=BOB, password="correct horse", invitation=token)
    assert await roles_of(pool, welcome.user_id) == {BOB: Role.OWNER, "Acme": Role.DEVELOPER}


@pytest.mark.parametrize("wrong", ["used", "other address", "nonsense", "", "\0"])
async def test_who_cannot_be_let_in_is_not_signed_up_either(pool, invite, accept, wrong):
    _made, token = await invite()
    if wrong == "used":
        await pool.execute("update invitation set revoked_at = clock_timestamp()")
    email = "eve@example.com" if wrong == "other address" else BOB
    with pytest.raises((InvitationGone, OtherAddress)):
        await user.sign_up(
            pool, email=email, password="correct horse",
            invitation=token if wrong in {"used", "other address"} else wrong,
        )  # fmt: skip
    assert await pool.fetchval("select count(*) from app_user where email <> 'ada@example.com'") == 0


async def test_it_ends_after_a_week(pool, invite, bob, accept):
    made, token = await invite()
    assert 6.9 < (made.expires_at - made.created_at).total_seconds() / 86400 <= 7
    await pool.execute("update invitation set expires_at = clock_timestamp()")
    with pytest.raises(InvitationGone):
        await accept(token, bob)
    assert await invitation.list_open(pool, made.id) == []


async def test_another_one_takes_the_place_of_the_first(pool, acme, invite, bob, accept):
    _made, first = await invite(role=Role.ADMIN)
    _made, second = await invite(role=Role.VIEWER)
    with pytest.raises(InvitationGone):
        await accept(first, bob)
    assert len(await invitation.list_open(pool, acme.id)) == 1
    assert (await accept(second, bob)).role is Role.VIEWER


async def test_a_revoked_one_lets_nobody_in(pool, acme, other, owner, invite, bob, accept):
    made, token = await invite()
    async with pool.acquire() as connection:
        for organization, one in [(other.id, made.id), (acme.id, "inv_of_nobody"), (acme.id, "\0")]:
            with pytest.raises(NotFound):
                await invitation.revoke(connection, organization, one, by=owner)
        await invitation.revoke(connection, acme.id, made.id, by=owner)
        with pytest.raises(NotFound):
            await invitation.revoke(connection, acme.id, made.id, by=owner)
    with pytest.raises(InvitationGone):
        await accept(token, bob)


@pytest.mark.parametrize("how", ["removed", "may less"])
async def test_who_may_invite_no_more_has_invited_in_vain(pool, acme, owner, invite, bob, accept, how):
    carol = await user.sign_up(pool, email="carol@example.com", password="correct horse")
    await member.add(pool, organization=acme.id, user_id=carol.user_id, role=Role.ADMIN)
    _made, token = await invite(by=carol.user_id)
    async with pool.acquire() as connection:
        if how == "removed":
            await membership.remove(connection, acme.id, carol.user_id, by=owner)
        else:
            await membership.change_role(connection, acme.id, carol.user_id, Role.DEVELOPER, by=owner)
    with pytest.raises(InvitationGone):
        await accept(token, bob)


@pytest.mark.parametrize("own", Role)
@pytest.mark.parametrize("role", Role)
async def test_nobody_invites_above_their_own_role(pool, acme, invite, own, role):
    carol = await user.sign_up(pool, email="carol@example.com", password="correct horse")
    await member.add(pool, organization=acme.id, user_id=carol.user_id, role=own)
    if member.may_grant(own, role):
        assert (await invite(role=role, by=carol.user_id))[0].role is role
    else:
        with pytest.raises(Forbidden):
            await invite(role=role, by=carol.user_id)
        assert await pool.fetchval("select count(*) from mail") == 0


async def test_a_stranger_invites_nobody(pool, invite, bob):
    with pytest.raises(NotFound):
        await invite(by=bob.user_id)


async def test_bad_addresses_and_members_are_refused(invite):
    with pytest.raises(InvalidInput):
        await invite(email="no address")
    with pytest.raises(AlreadyMember):
        await invite(email="ADA@example.com")


async def test_the_number_of_open_ones_is_limited(monkeypatch, invite):
    monkeypatch.setattr(invitation, "OPEN_MAX", 2)
    await invite(email="a@example.com")
    await invite(email="b@example.com")
    await invite(email="b@example.com")
    with pytest.raises(TooManyInvitations):
        await invite(email="c@example.com")
