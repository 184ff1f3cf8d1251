"""Members, suspension and scoped keys, as an operator types them."""

import asyncpg
import pytest

from tallystick.accounts import user


@pytest.fixture
async def people(pool):
    return [await user.sign_up(pool, email=f"{name}@example.com", password="correct horse") for name in ("ada", "bob")]


async def acts(dsn):
    connection = await asyncpg.connect(dsn)
    rows = await connection.fetch("select act, done_by, origin from audit_event where origin = 'cli' order by seq")
    await connection.close()
    return [tuple(row) for row in rows]


async def test_members_are_added_listed_changed_and_removed(tallystick, dsn, people):
    ada, bob = people
    org = tallystick("orgs", "create", "Acme", "--by", "grace", "--json")["id"]
    tallystick("members", "add", org, "ADA@example.com", "--role", "owner", "--by", "grace")
    added = tallystick("members", "add", org, bob.user_id, "--by", "grace", "--json")
    assert added == {"user_id": bob.user_id, "role": "developer"}
    tallystick("members", "role", org, "bob@example.com", "billing", "--by", "grace")
    assert [(one["email"], one["role"]) for one in tallystick("members", "list", org, "--json")] == [
        ("ada@example.com", "owner"), ("bob@example.com", "billing"),
    ]  # fmt: skip
    assert "last owner" in tallystick("members", "remove", org, "ada@example.com", code=1)
    assert "personal organization" in tallystick("members", "remove", ada.user_id, "ada@example.com", code=1)
    assert "no user" in tallystick("members", "add", org, "nobody@example.com", code=1)
    assert "a member of the organization already" in tallystick("members", "add", org, "bob@example.com", code=1)
    tallystick("members", "remove", org, "bob@example.com", "--by", "grace")
    assert "bob" not in tallystick("members", "list", org)
    assert await acts(dsn) == [
        (act, "operator:grace", "cli")
        for act in ("organization.created", "member.added", "member.added", "member.changed", "member.removed")
    ]


async def test_an_organization_is_suspended_and_activated(tallystick, dsn):
    org = tallystick("orgs", "create", "Acme", "--json")["id"]
    assert tallystick("orgs", "suspend", org, "--by", "grace", "--json")["state"] == "suspended"
    assert "suspended" in tallystick("orgs", "suspend", org, "--by", "grace")
    assert tallystick("orgs", "activate", org, "--by", "grace", "--json")["state"] == "active"
    assert [act for act, who, _origin in await acts(dsn) if who == "operator:grace"] == [
        "organization.suspended", "organization.activated",
    ]  # fmt: skip


async def test_an_operator_makes_keys_for_billing(tallystick, dsn):
    org = tallystick("orgs", "create", "Acme", "--json")["id"]
    made = tallystick("keys", "create", org, "--scope", "billing", "--by", "grace", "--json")
    (listed,) = tallystick("keys", "list", org, "--json")
    assert (listed["scopes"], listed["created_by"]) == (["billing"], "operator:grace")
    tallystick("keys", "revoke", made["id"], "--by", "grace")
    assert [act for act, who, _origin in await acts(dsn) if who == "operator:grace"] == ["key.created", "key.revoked"]
    tallystick("keys", "create", org, "--scope", "root", code=2)
