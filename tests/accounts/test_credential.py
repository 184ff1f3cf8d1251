"""Provider secrets: sealed at rest, bound to their row, opened with old keys after a rotation."""

import json

import asyncpg
import pytest

from tallystick.accounts import credential
from tallystick.accounts.credential import TooManyCredentials
from tallystick.accounts.organization import Organization
from tallystick.base.errors import InvalidInput, NotFound
from tallystick.base.sealed import SealBroken, Sealer

SEALER = Sealer({"k1": bytes(range(32))})
SECRET = "sk-provider-secret"


async def every_secret(connection: asyncpg.Connection, sealer: Sealer) -> dict[str, str | None]:
    shown = await credential.list_shown(connection, owner="operator")
    return {one.name: await credential.get(connection, sealer, owner="operator", name=one.name) for one in shown}


async def test_what_was_set_is_read_and_stored_sealed(pool: asyncpg.Pool, connection: asyncpg.Connection) -> None:
    await credential.put(connection, SEALER, owner="operator", name="openai", secret=SECRET)
    assert await credential.get(connection, SEALER, owner="operator", name="openai") == SECRET
    assert await credential.get(connection, SEALER, owner="operator", name="anthropic") is None
    assert await credential.get(connection, SEALER, owner="org_x", name="openai") is None
    assert SECRET.encode() not in await pool.fetchval("select sealed from credential")


async def test_setting_again_replaces_and_removing_forgets(pool: asyncpg.Pool, connection: asyncpg.Connection) -> None:
    await credential.put(connection, SEALER, owner="operator", name="openai", secret=SECRET)
    await credential.put(connection, SEALER, owner="operator", name="openai", secret="sk-newer")
    await credential.put(connection, SEALER, owner="operator", name="other", secret="sk-other")
    assert await every_secret(connection, SEALER) == {"openai": "sk-newer", "other": "sk-other"}
    await credential.remove(connection, owner="operator", name="openai")
    assert await every_secret(connection, SEALER) == {"other": "sk-other"}
    with pytest.raises(NotFound):
        await credential.remove(connection, owner="operator", name="openai")


@pytest.mark.parametrize("change", ["owner = 'org_thief'", "name = 'thief'", "base_url = 'https://evil.example.org'"])
async def test_a_sealed_value_moved_to_another_row_does_not_open(
    pool: asyncpg.Pool, connection: asyncpg.Connection, change: str
) -> None:
    await credential.put(connection, SEALER, owner="operator", name="victim", secret=SECRET)
    await pool.execute(f"update credential set {change}")
    owner, name = await pool.fetchrow("select owner, name from credential")
    with pytest.raises(SealBroken):
        await credential.get(connection, SEALER, owner=owner, name=name)


async def test_after_a_rotation_old_rows_open_and_new_rows_need_the_new_key(
    pool: asyncpg.Pool, connection: asyncpg.Connection
) -> None:
    await credential.put(connection, SEALER, owner="operator", name="old", secret=SECRET)
    rotated = Sealer({"k2": bytes(range(32, 64)), "k1": bytes(range(32))})
    await credential.put(connection, rotated, owner="operator", name="new", secret="sk-new")
    assert await every_secret(connection, rotated) == {"new": "sk-new", "old": SECRET}
    assert await pool.fetchval("select key_id from credential where name = 'new'") == "k2"


@pytest.mark.parametrize(
    "changed", [{"secret": ""}, {"secret": "a\r\nx-evil: 1"}, {"secret": "\u00e9"}, {"owner": ""}, {"name": "\0"}]
)
async def test_what_could_break_a_header_or_a_row_is_refused(
    pool: asyncpg.Pool, connection: asyncpg.Connection, changed: dict[str, str]
) -> None:
    with pytest.raises(InvalidInput):
        await credential.put(connection, SEALER, **{"owner": "operator", "name": "openai", "secret": SECRET} | changed)
    assert await pool.fetchval("select count(*) from credential") == 0


async def test_how_it_ends_where_it_goes_and_since_when_is_shown_and_kept_in_the_audit_log(
    connection: asyncpg.Connection, acme: Organization
) -> None:
    long, url = "sk-ant-a-long-one-1234", "https://llm.example.org/v1"
    await credential.put(connection, SEALER, owner=acme.id, name="anthropic", secret=long, base_url=url, by="user_a")
    await credential.put(connection, SEALER, owner=acme.id, name="short", secret="sk-short-1234", by="user_a")
    shown = await credential.list_shown(connection, owner=acme.id)
    assert [(one.name, one.last_four, one.base_url) for one in shown] == [
        ("anthropic", "1234", url),
        ("short", None, None),
    ]
    assert await credential.get(connection, SEALER, owner=acme.id, name="anthropic") == long
    await credential.remove(connection, owner=acme.id, name="anthropic", by="user_b")
    rows = await connection.fetch("select act, done_by, subject, before, after from audit_event where act like 'cred%'")
    assert [(row["act"], row["done_by"], row["subject"]) for row in rows] == [
        ("credential.set", "user_a", "anthropic"),
        ("credential.set", "user_a", "short"),
        ("credential.removed", "user_b", "anthropic"),
    ]
    assert json.loads(rows[0]["after"]) == json.loads(rows[2]["before"]) == {"last_four": "1234", "base_url": url}
    assert not any(long in str(tuple(row)) for row in rows)


async def test_an_organization_has_only_so_many(
    connection: asyncpg.Connection, acme: Organization, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(credential, "EACH_MAX", 2)
    for name in ("a", "b", "b"):
        await credential.put(connection, SEALER, owner=acme.id, name=name, secret=SECRET)
    with pytest.raises(TooManyCredentials):
        await credential.put(connection, SEALER, owner=acme.id, name="c", secret=SECRET)
    with pytest.raises(NotFound):
        await credential.put(connection, SEALER, owner="org_of_nobody", name="c", secret=SECRET)
