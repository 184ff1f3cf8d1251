"""Provider secrets: sealed at rest, bound to their row, opened with old keys after a rotation."""

import asyncpg
import pytest

from tallystick.accounts import credential
from tallystick.base.errors import InvalidInput, NotFound
from tallystick.base.sealed import SealBroken, Sealer

SEALER = Sealer({"k1": bytes(range(32))})
SECRET = "sk-provider-secret"


async def test_what_was_set_is_read_and_stored_sealed(pool: asyncpg.Pool) -> None:
    await credential.set(pool, SEALER, owner="operator", name="openai", secret=SECRET)
    assert await credential.get(pool, SEALER, owner="operator", name="openai") == SECRET
    assert await credential.get(pool, SEALER, owner="operator", name="anthropic") is None
    assert await credential.get(pool, SEALER, owner="org_x", name="openai") is None
    assert SECRET.encode() not in await pool.fetchval("select sealed from credential")


async def test_setting_again_replaces_and_removing_forgets(pool: asyncpg.Pool) -> None:
    await credential.set(pool, SEALER, owner="operator", name="openai", secret=SECRET)
    await credential.set(pool, SEALER, owner="operator", name="openai", secret="sk-newer")
    await credential.set(pool, SEALER, owner="operator", name="other", secret="sk-other")
    assert await credential.get_all(pool, SEALER, owner="operator") == {"openai": "sk-newer", "other": "sk-other"}
    await credential.remove(pool, owner="operator", name="openai")
    assert await credential.get_all(pool, SEALER, owner="operator") == {"other": "sk-other"}
    with pytest.raises(NotFound):
        await credential.remove(pool, owner="operator", name="openai")


@pytest.mark.parametrize("change", ["owner = 'org_thief'", "name = 'thief'"])
async def test_a_sealed_value_moved_to_another_row_does_not_open(pool: asyncpg.Pool, change: str) -> None:
    await credential.set(pool, SEALER, owner="org_victim", name="victim", secret=SECRET)
    await pool.execute(f"update credential set {change}")
    owner, name = await pool.fetchrow("select owner, name from credential")
    with pytest.raises(SealBroken):
        await credential.get(pool, SEALER, owner=owner, name=name)


async def test_after_a_rotation_old_rows_open_and_new_rows_need_the_new_key(pool: asyncpg.Pool) -> None:
    await credential.set(pool, SEALER, owner="operator", name="old", secret=SECRET)
    rotated = Sealer({"k2": bytes(range(32, 64)), "k1": bytes(range(32))})
    await credential.set(pool, rotated, owner="operator", name="new", secret="sk-new")
    assert await credential.get_all(pool, rotated, owner="operator") == {"new": "sk-new", "old": SECRET}
    assert await pool.fetchval("select key_id from credential where name = 'new'") == "k2"


@pytest.mark.parametrize(
    "changed", [{"secret": ""}, {"secret": "a\r\nx-evil: 1"}, {"secret": "\u00e9"}, {"owner": ""}, {"name": "\0"}]
)
async def test_what_could_break_a_header_or_a_row_is_refused(pool: asyncpg.Pool, changed: dict[str, str]) -> None:
    with pytest.raises(InvalidInput):
        await credential.set(pool, SEALER, **{"owner": "operator", "name": "openai", "secret": SECRET} | changed)
    assert await pool.fetchval("select count(*) from credential") == 0
