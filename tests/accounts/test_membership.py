"""Members come, change and go; an organization always keeps an owner, however many try at once to be rid of it."""

import asyncio
import json

import asyncpg
import pytest

from tallystick.accounts import api_key, member, membership, organization, user
from tallystick.accounts.api_key import Scope
from tallystick.accounts.member import Role, may_grant
from tallystick.accounts.membership import LastOwner, OwnOrganization, change_role, list_members, remove
from tallystick.base.errors import Forbidden, InvalidInput, NotFound
from tallystick.base.ids import text_id
from tests.patience import eventually

OPERATOR = "operator:ada"


@pytest.fixture
async def people(pool, acme):
    """A member of Acme in each role, by the name of the role, and somebody who is none. Nobody signs in here."""
    found = {}
    for name in (*Role, "stranger"):
        async with pool.acquire() as connection:
            personal = await organization.create(connection, name=name)
        found[str(name)] = await pool.fetchval(
            "insert into app_user (id, email, password_hash, personal_organization) values ($1, $2, '', $3)"
            " returning id", text_id("user"), f"{name}@example.com", personal.id,
        )  # fmt: skip
        if name != "stranger":
            await member.add(pool, organization=acme.id, user_id=found[str(name)], role=name)
    return found


@pytest.fixture
def roles(pool, acme, people):
    async def read():
        rows = await pool.fetch("select user_id, role from member where organization = $1", acme.id)
        names = {user_id: name for name, user_id in people.items()}
        return {names[row["user_id"]]: row["role"] for row in rows}

    return read


async def acts(pool, subject):
    rows = await pool.fetch(
        "select act, done_by, before, after from audit_event where subject = $1 order by seq", subject
    )
    return [
        (row["act"], row["done_by"], *(row[side] and json.loads(row[side]) for side in ("before", "after")))
        for row in rows
    ]


async def change(pool, *args, **options):
    async with pool.acquire() as connection:
        return await change_role(connection, *args, **options)


async def take_out(pool, *args, **options):
    async with pool.acquire() as connection:
        await remove(connection, *args, **options)


def test_who_may_grant_what():
    grants = {(own, role) for own in Role for role in Role if may_grant(own, role)}
    assert grants == {(Role.OWNER, role) for role in Role} | {(Role.ADMIN, role) for role in set(Role) - {Role.OWNER}}


async def test_members_are_listed_page_by_page(pool, acme, people):
    first = await list_members(pool, acme.id, limit=3)
    rest = await list_members(pool, acme.id, after=first[-1].user_id)
    assert [one.user_id for one in [*first, *rest]] == sorted(people[role] for role in Role)
    assert {(one.email, one.role) for one in [*first, *rest]} == {(f"{role}@example.com", role) for role in Role}
    with pytest.raises(InvalidInput):
        await list_members(pool, acme.id, after="\0")


@pytest.mark.parametrize("by", [*Role, "stranger"])
@pytest.mark.parametrize("whom", Role)
@pytest.mark.parametrize("to", Role)
async def test_who_may_change_whom(pool, acme, people, roles, by, whom, to):
    before = await roles()
    # With a second owner, so that the first one may be changed.
    await pool.execute(
        "insert into member select $1, id, 'owner' from app_user where email = 'stranger@example.com' and $2", acme.id,
        by != "stranger",
    )  # fmt: skip
    allowed = by == "owner" or (by == "admin" and "owner" not in {whom, to})
    if allowed:
        assert await change(pool, acme.id, people[whom], to, by=people[by]) == whom
        assert (await roles())[whom] == to
        added = ("member.added", "process", None, {"role": whom})
        changed = ("member.changed", people[by], {"role": whom}, {"role": to})
        assert [act for act in await acts(pool, people[whom]) if act[0].startswith("member.")][-1] == (
            added if whom == to else changed
        )
    else:
        with pytest.raises(NotFound if by == "stranger" else Forbidden):
            await change(pool, acme.id, people[whom], to, by=people[by])
        assert await roles() | before == await roles()


@pytest.mark.parametrize("by", Role)
@pytest.mark.parametrize("whom", Role)
async def test_who_may_remove_whom_and_anybody_may_leave(pool, acme, people, roles, by, whom):
    await member.add(pool, organization=acme.id, user_id=people["stranger"], role=Role.OWNER)
    if by is whom or by is Role.OWNER or (by is Role.ADMIN and whom is not Role.OWNER):
        await take_out(pool, acme.id, people[whom], by=people[by])
        assert whom not in await roles()
        assert (await acts(pool, people[whom]))[-1] == ("member.removed", people[by], {"role": whom}, None)
    else:
        with pytest.raises(Forbidden):
            await take_out(pool, acme.id, people[whom], by=people[by])
        assert whom in await roles()


async def test_nobody_of_another_organization_is_found(pool, acme, other, people):
    for where, whom in [
        (acme.id, people["stranger"]),
        (acme.id, "user_of_nobody"),
        (acme.id, "\0"),
        (other.id, people["viewer"]),
        ("org_of_nobody", people["viewer"]),
    ]:
        with pytest.raises(NotFound):
            await change(pool, where, whom, Role.ADMIN, by=people["owner"])
        with pytest.raises(NotFound):
            await take_out(pool, where, whom, by=people["owner"])


async def test_the_last_owner_stays(pool, acme, people, roles):
    with pytest.raises(LastOwner):
        await change(pool, acme.id, people["owner"], Role.ADMIN, by=people["owner"])
    for by in (people["owner"], OPERATOR):
        with pytest.raises(LastOwner):
            await take_out(pool, acme.id, people["owner"], by=by)
    assert (await roles())["owner"] == "owner"


@pytest.mark.parametrize("how", ["leave", "step down", "remove each other"])
async def test_of_owners_who_go_at_once_one_stays(pool, acme, how):
    owners = []
    for number in range(4):
        made = await user.sign_up(pool, email=f"o{number}@example.com", password="correct horse")
        await member.add(pool, organization=acme.id, user_id=made.user_id, role=Role.OWNER)
        owners.append(made.user_id)

    async def go(number):
        me, next_ = owners[number], owners[(number + 1) % 4]
        if how == "leave":
            await take_out(pool, acme.id, me, by=me)
        elif how == "step down":
            await change(pool, acme.id, me, Role.VIEWER, by=me)
        else:
            await take_out(pool, acme.id, next_, by=me)

    ended = await asyncio.gather(*(go(number) for number in range(4)), return_exceptions=True)
    assert [one for one in ended if one is not None and not isinstance(one, LastOwner | NotFound)] == []
    left = await pool.fetchval("select count(*) from member where organization = $1 and role = 'owner'", acme.id)
    assert left >= 1
    if how != "remove each other":
        assert left == 1


async def test_nobody_leaves_or_is_removed_from_their_personal_organization(pool, ada, people):
    await member.add(pool, organization=ada.organization_id, user_id=people["stranger"], role=Role.OWNER)
    for by in (ada.user_id, people["stranger"], OPERATOR):
        with pytest.raises(OwnOrganization):
            await take_out(pool, ada.organization_id, ada.user_id, by=by)


@pytest.mark.parametrize("how", ["changed", "removed"])
async def test_the_keys_of_who_may_no_more_lose_what_they_may_not(pool, acme, people, key_ring, how):
    async with pool.acquire() as connection:
        made = {
            name: await api_key.create(
                connection, organization=acme.id, name="k", scopes=[Scope.BILLING], by=people.get(name, name)
            )
            for name in ("admin", "billing", OPERATOR)
        }
    ring = await key_ring()
    scopes = {name: (await ring.caller(key.secret)).scopes for name, key in made.items()}
    assert set(scopes.values()) == {("billing",)}
    if how == "changed":
        await change(pool, acme.id, people["admin"], Role.DEVELOPER, by=people["owner"])
    else:
        await take_out(pool, acme.id, people["admin"], by=people["owner"])

    async def narrowed() -> bool:
        return (await ring.caller(made["admin"].secret)).scopes == ()

    await eventually(narrowed)
    assert (await ring.caller(made["billing"].secret)).scopes == ("billing",)
    assert (await ring.caller(made[OPERATOR].secret)).scopes == ("billing",)
    assert [act[0] for act in await acts(pool, made["admin"].key.id)] == ["key.created", "key.narrowed"]


@pytest.mark.parametrize("by", [Role.DEVELOPER, Role.VIEWER, "stranger", "process"])
async def test_a_key_is_not_made_wider_than_who_makes_it(pool, acme, people, by):
    async with pool.acquire() as connection:
        with pytest.raises((Forbidden, NotFound)):
            await api_key.create(
                connection, organization=acme.id, name="k", scopes=[Scope.BILLING], by=people.get(by, by)
            )
    assert await pool.fetchval("select count(*) from api_key") == 0


async def test_a_role_that_changes_while_a_key_is_made_leaves_no_wide_key(pool, acme, people):
    async def make():
        async with pool.acquire() as connection:
            await api_key.create(
                connection, organization=acme.id, name="k", scopes=[Scope.BILLING], by=people["billing"]
            )

    for _ in range(5):
        await change(pool, acme.id, people["billing"], Role.BILLING, by=OPERATOR)
        await asyncio.gather(
            make(), change(pool, acme.id, people["billing"], Role.VIEWER, by=people["owner"]), return_exceptions=True
        )
        assert await pool.fetchval("select count(*) from api_key where scopes <> '{}'") == 0


async def test_the_database_knows_no_other_scope(pool, acme):
    async with pool.acquire() as connection:
        await api_key.create(connection, organization=acme.id, name="k", by=OPERATOR)
    with pytest.raises(asyncpg.CheckViolationError):
        await pool.execute("update api_key set scopes = '{root}'")


def test_an_operator_acts_as_an_owner_does():
    assert OPERATOR.startswith(membership.OPERATOR)
