"""Organizations of the version before get what is new, also those that it goes on making meanwhile."""

import asyncpg

from tallystick.accounts import api_key, user
from tallystick.accounts.api_key import Scope
from tallystick.base.revision import upgrade
from tallystick.ledger.account import open_account


async def old_organization(connection: asyncpg.Connection, name: str, *customers: bool) -> None:
    """As the version before makes one, with a key; `customers` says in which modes it was a customer."""
    account = await open_account(connection)
    await connection.execute("insert into organization (id, name, account) values ($1, $1, $2)", name, account)
    await connection.execute(
        "insert into api_key (id, organization, name, prefix, hash) values ('key_' || $1, $1, 'k', 'tsk_', sha256($2))",
        name,
        name.encode(),
    )
    await connection.execute(
        "insert into credential (owner, name, key_id, sealed) values ($1, 'openai', 'k1', 'x')"
        " on conflict (owner, name) do update set sealed = excluded.sealed",
        name,
    )
    for livemode in customers:
        await connection.execute(
            "insert into stripe_customer (organization, livemode, id) values ($1, $2, $3)",
            name,
            livemode,
            f"cus_{name}_{livemode}",
        )


async def test_what_there_was_is_provisioned_and_so_is_what_comes(empty_dsn: str) -> None:
    await upgrade(empty_dsn, "0003")
    async with asyncpg.create_pool(empty_dsn) as pool, pool.acquire() as connection:
        await old_organization(connection, "org_none")
        await old_organization(connection, "org_test", False)
        await old_organization(connection, "org_both", False, True)
        await upgrade(empty_dsn)
        await old_organization(connection, "org_late")
        rows = await connection.fetch("select organization, livemode from provisioning where done_at is null")
        assert {tuple(row) for row in rows} == {
            ("org_none", False), ("org_none", True), ("org_test", True), ("org_late", False), ("org_late", True),
        }  # fmt: skip
        rows = await connection.fetch("select organization, livemode from provisioning where done_at is not null")
        assert {tuple(row) for row in rows} == {("org_test", False), ("org_both", False), ("org_both", True)}
        found = await api_key.find(connection, "key_org_none")
        assert (found.scopes, found.created_by) == ((), None)
        # And the new version works on.
        ada = await user.sign_up(pool, email="ada@example.com", password="correct horse")
        made = await api_key.create(
            connection, organization=ada.organization_id, name="k", scopes=[Scope.BILLING], by=ada.user_id
        )
        assert made.key.scopes == (Scope.BILLING,)
