"""Signing up makes a whole tenant or nothing; signing in tells strangers nothing; a changed password ends sessions."""

import asyncio

import asyncpg
import pytest

from tallystick.accounts import session, throttle, user
from tallystick.accounts.member import Role
from tallystick.accounts.user import EmailTaken, Welcome
from tallystick.base.errors import InvalidInput, RateLimited, TallystickError, Unauthorized

PASSWORD = "correct horse"
HERE = "192.0.2.7"


async def sign_in(pool: asyncpg.Pool, email: str, password: str = PASSWORD, address: str = HERE) -> Welcome:
    return await user.sign_in(pool, email=email, password=password, address=address)


async def count(pool: asyncpg.Pool, table: str) -> int:
    return int(await pool.fetchval(f"select count(*) from {table}"))


async def test_sign_up_makes_user_organization_membership_account_and_session(pool: asyncpg.Pool, ada: Welcome) -> None:
    row = await pool.fetchrow(
        "select u.email, o.name, o.state, m.role, a.kind, a.posted, a.held from app_user u"
        " join organization o on o.id = u.personal_organization"
        " join member m on m.organization = o.id and m.user_id = u.id"
        " join ledger_account a on a.id = o.account where u.id = $1",
        ada.user_id,
    )
    assert tuple(row) == ("ada@example.com", "Ada", "active", "owner", "customer", 0, 0)
    assert (await session.find(pool, ada.session.token)).role is Role.OWNER


async def test_without_a_name_the_organization_is_called_by_the_email(pool: asyncpg.Pool) -> None:
    welcome = await user.sign_up(pool, email="Bob@Example.com", password=PASSWORD)
    name = await pool.fetchval("select name from organization where id = $1", welcome.organization_id)
    assert name == "bob@example.com"


async def test_a_known_email_is_refused_and_leaves_nothing_behind(pool: asyncpg.Pool, ada: Welcome) -> None:
    accounts = await count(pool, "ledger_account")
    with pytest.raises(EmailTaken):
        await user.sign_up(pool, email=" ADA@example.com", password="another password")
    assert await count(pool, "ledger_account") == accounts
    assert await count(pool, "organization") == 1
    assert (await sign_in(pool, "ada@example.com")).user_id == ada.user_id


async def test_of_many_sign_ups_at_once_with_one_email_one_wins(pool: asyncpg.Pool) -> None:
    attempts = (user.sign_up(pool, email="eve@example.com", password=PASSWORD) for _ in range(6))
    outcomes = await asyncio.gather(*attempts, return_exceptions=True)
    assert sorted(type(outcome).__name__ for outcome in outcomes) == ["EmailTaken"] * 5 + ["Welcome"]
    assert (await count(pool, "app_user"), await count(pool, "organization"), await count(pool, "member")) == (1, 1, 1)


@pytest.mark.parametrize(
    ("changed", "field"),
    [({"email": "no address"}, "email"), ({"password": "short"}, "password"), ({"name": "  "}, "name"),
     ({"name": "x" * 255}, "name"), ({"name": "nul\0"}, "name"), ({"name": "turned \u202e around"}, "name")],
)  # fmt: skip
async def test_bad_input_names_its_field_and_leaves_nothing(
    pool: asyncpg.Pool, changed: dict[str, str], field: str
) -> None:
    with pytest.raises(InvalidInput) as refused:
        await user.sign_up(pool, **{"email": "bob@example.com", "password": PASSWORD, "name": "Bob"} | changed)
    assert refused.value.field == field
    assert await count(pool, "organization") == 0


async def test_sign_in_takes_the_email_however_it_is_written(pool: asyncpg.Pool, ada: Welcome) -> None:
    welcome = await sign_in(pool, " Ada@EXAMPLE.com ")
    assert (welcome.user_id, welcome.organization_id) == (ada.user_id, ada.organization_id)
    assert welcome.session.token != ada.session.token
    assert (await session.find(pool, welcome.session.token)).user_id == ada.user_id


async def refusals(pool: asyncpg.Pool, email: str, times: int) -> list[tuple[type, str, str]]:
    seen = []
    for _ in range(times):
        with pytest.raises(TallystickError) as refused:
            await sign_in(pool, email, "a wrong password")
        seen.append((type(refused.value), refused.value.code, refused.value.message))
    return seen


async def test_known_and_unknown_emails_are_answered_alike_to_the_end(pool: asyncpg.Pool, ada: Welcome) -> None:
    tries = throttle.SIGN_IN_BY_EMAIL.attempts_max + 2
    known = await refusals(pool, "ada@example.com", tries)
    assert known == await refusals(pool, "nobody@example.com", tries)
    assert [kind for kind, _, _ in known] == [Unauthorized] * (tries - 2) + [RateLimited] * 2
    with pytest.raises(RateLimited):
        await sign_in(pool, "ada@example.com", address="198.51.100.1")


async def test_one_address_cannot_try_a_few_passwords_on_everybody(pool: asyncpg.Pool, monkeypatch) -> None:
    monkeypatch.setattr(throttle, "SIGN_IN_BY_ADDRESS", throttle.Limit("few", 3, 900))
    for n in range(3):
        with pytest.raises(Unauthorized):
            await sign_in(pool, f"user{n}@example.com", "a wrong password")
    with pytest.raises(RateLimited):
        await sign_in(pool, "user9@example.com", "a wrong password")
    # The one who was refused for their address used up no attempt of that e-mail's owner.
    assert await count(pool, "sign_in_attempt") == 4


async def test_good_sign_ins_are_never_throttled(pool: asyncpg.Pool, ada: Welcome, monkeypatch) -> None:
    monkeypatch.setattr(throttle, "SIGN_IN_BY_ADDRESS", throttle.Limit("few", 3, 900))
    monkeypatch.setattr(throttle, "SIGN_IN_BY_EMAIL", throttle.Limit("fewer", 2, 900))
    for _ in range(5):
        await sign_in(pool, "ada@example.com")


async def test_sign_up_is_throttled_by_address(pool: asyncpg.Pool, monkeypatch) -> None:
    monkeypatch.setattr(throttle, "SIGN_UP_BY_ADDRESS", throttle.Limit("two", 2, 900))
    for n in range(2):
        await user.sign_up(pool, email=f"user{n}@example.com", password=PASSWORD, address="2001:db8::1")
    with pytest.raises(RateLimited):
        await user.sign_up(pool, email="user2@example.com", password=PASSWORD, address="2001:db8::2")


async def test_a_new_password_ends_every_session_and_the_old_password(pool: asyncpg.Pool, ada: Welcome) -> None:
    elsewhere = await sign_in(pool, "ada@example.com")
    started = await user.change_password(pool, ada.user_id, old=PASSWORD, new="battery staple")
    for token in (ada.session.token, elsewhere.session.token):
        with pytest.raises(Unauthorized):
            await session.find(pool, token)
    assert (await session.find(pool, started.token)).user_id == ada.user_id
    with pytest.raises(Unauthorized):
        await sign_in(pool, "ada@example.com")
    assert (await sign_in(pool, "ada@example.com", "battery staple")).user_id == ada.user_id


async def test_the_old_password_is_asked_for_and_guessing_it_is_throttled(pool: asyncpg.Pool, ada: Welcome) -> None:
    for _ in range(throttle.PASSWORD_BY_USER.attempts_max):
        with pytest.raises(InvalidInput) as refused:
            await user.change_password(pool, ada.user_id, old="a wrong password", new="battery staple")
        assert refused.value.field == "old_password"
    with pytest.raises(RateLimited):
        await user.change_password(pool, ada.user_id, old=PASSWORD, new="battery staple")
    assert (await session.find(pool, ada.session.token)).user_id == ada.user_id


async def test_of_two_changes_at_once_one_wins_and_its_password_holds(pool: asyncpg.Pool, ada: Welcome) -> None:
    outcomes = await asyncio.gather(
        *(user.change_password(pool, ada.user_id, old=PASSWORD, new=f"new password {n}") for n in range(4)),
        return_exceptions=True,
    )
    won = [n for n, outcome in enumerate(outcomes) if not isinstance(outcome, Exception)]
    assert len(won) == 1
    assert (await sign_in(pool, "ada@example.com", f"new password {won[0]}")).user_id == ada.user_id
    assert await pool.fetchval("select count(*) from user_session where revoked_at is null") == 2


async def test_a_sign_in_racing_with_a_change_never_keeps_a_session_of_the_old_password(
    pool: asyncpg.Pool, ada: Welcome
) -> None:
    racing = [sign_in(pool, "ada@example.com") for _ in range(4)]
    change = user.change_password(pool, ada.user_id, old=PASSWORD, new="battery staple")
    started, *others = await asyncio.gather(change, *racing, return_exceptions=True)
    assert not isinstance(started, BaseException)
    for outcome in others:
        if isinstance(outcome, Welcome):
            with pytest.raises(Unauthorized):
                await session.find(pool, outcome.session.token)
    assert await pool.fetchval("select count(*) from user_session where revoked_at is null") == 1
