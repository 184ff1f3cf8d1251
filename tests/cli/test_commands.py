"""The commands as an operator types them, each in a process of its own."""

import base64
import re

from tallystick.ledger.seal import seal

CATALOG = """
[[provider]]
name = "acme"
base_url = "https://api.acme.example/v1"
credential = { sealed = "acme" }

[[cost_profile]]
provider = "acme"
model = "small"
input = 0.15
output = 0.60

[[price]]
provider = "acme"
model = "small"
markup = 1.25

[[route]]
alias = "fast"
candidates = [{ provider = "acme", model = "small" }]

[[pack]]
slug = "starter"
name = "Starter"
amount = 5
"""


def test_help_says_what_there_is(tallystick):
    said = tallystick("--help")
    for word in ("serve", "migrate", "apply", "prices", "orgs", "keys", "credits", "verify", "doctor", "demo"):
        assert re.search(rf"^\W*{word}\s+\w", said, re.MULTILINE), word


def test_an_organization_its_key_and_its_credits(tallystick):
    org = tallystick("orgs", "create", "Ada's lab", "--json")
    assert [one["name"] for one in tallystick("orgs", "list", "--json")] == ["Ada's lab"]

    key = tallystick("keys", "create", org["id"], "--name", "laptop", "--json")
    assert key["key"].startswith(key["prefix"])
    assert key["key"] not in tallystick("keys", "list", org["id"])

    assert tallystick("credits", "grant", org["id"], "5.25", "--json") == {"granted": "5.25", "balance": "5.25"}
    balance = tallystick("credits", "balance", org["id"], "--json")
    assert balance == {"balance": "5.25", "held": "0.00", "available": "5.25"}
    (entry,) = tallystick("credits", "history", org["id"], "--json")
    assert (entry["kind"], entry["amount"]) == ("grant", "5.25")
    (moved,) = tallystick("credits", "transfers", entry["operation"], "--json")
    assert (moved["debit"], moved["credit"], moved["amount"]) == ("promotional_expense", "customer", "5.25")

    tallystick("keys", "revoke", key["id"])
    (listed,) = tallystick("keys", "list", org["id"], "--json")
    assert listed["revoked_at"]
    assert "1 revoked" in tallystick("orgs", "show", org["id"])


def test_the_same_request_id_grants_once(tallystick):
    org = tallystick("orgs", "create", "Ada's lab", "--json")["id"]
    for _ in range(2):
        tallystick("credits", "grant", org, "1", "--request-id", "welcome", "--reason", "welcome")
    assert tallystick("credits", "balance", org, "--json")["balance"] == "1.00"
    said = tallystick("credits", "grant", org, "2", "--request-id", "welcome", "--reason", "welcome", code=1)
    assert said.startswith("tallystick: ")


def test_a_catalog_is_shown_applied_and_applied_again(tallystick, tmp_path):
    (tmp_path / "catalog.toml").write_text(CATALOG)
    dry = tallystick("apply", "catalog.toml", "--dry-run", "--json")
    assert dry["published"] is False
    assert any(line.startswith("+ price acme/small") for line in dry["changes"])
    assert tallystick("prices", "list", "--json") == []

    applied = tallystick("apply", "catalog.toml", "--json")
    assert applied["changes"] == dry["changes"]
    assert "Nothing changes." in tallystick("apply", "catalog.toml")
    (line,) = tallystick("prices", "list", "--json")
    assert [(kind["kind"], kind["cost"], kind["price"]) for kind in line["kinds"]] == [
        ("input", "0.15", "0.1875"),
        ("output", "0.6", "0.75"),
    ]

    tallystick("prices", "set", "acme", "small", "--input", "0.5", "--output", "2")
    (line,) = tallystick("prices", "list", "--json")
    assert [kind["price"] for kind in line["kinds"]] == ["0.5", "2"]
    assert "loss" in tallystick("prices", "set", "acme", "small", "--markup", "0.5", code=1).lower()


def test_a_secret_is_sealed_from_standard_input(tallystick):
    keys = f"k1:{base64.b64encode(bytes(32)).decode()}"
    said = tallystick("credentials", "set", "acme", stdin="sk-very-secret\n", TALLYSTICK_SEALING_KEYS=keys)
    assert "sk-very-secret" not in said
    assert "TALLYSTICK_SEALING_KEYS" in tallystick("credentials", "set", "acme", stdin="sk-x\n", code=1)


def test_costs_are_imported_from_the_offline_price_list(tallystick):
    done = tallystick("prices", "import", "--provider", "openai", "--model", "gpt-4o-mini", "--json")
    assert [line.split(":")[0] for line in done["changes"]] == ["+ cost_profile openai/gpt-4o-mini"]
    again = tallystick("prices", "import", "--provider", "openai", "--model", "gpt-4o-mini", "--json")
    assert (again["changes"], again["unchanged"]) == ([], 1)


def test_verify_and_doctor_on_empty_books(tallystick):
    found = tallystick("verify", "--json")
    assert found["ok"] is True
    assert {law["law"] for law in found["laws"]} >= {1, 2, 3, 4, 5, 6, 9, 10, 12}


async def test_verify_prints_an_anchor_and_takes_it_back(tallystick, pool):
    assert tallystick("verify", "--json")["newest_block"] is None
    organization = tallystick("orgs", "create", "Ada's lab", "--json")["id"]
    tallystick("credits", "grant", organization, "5", "--json")
    await seal(pool)
    newest = tallystick("verify", "--json")["newest_block"]
    assert newest["number"] == 1
    assert f"The newest block of the chain is 1: {newest['hash']}" in tallystick("verify", "--anchor", newest["hash"])
    lost = tallystick("verify", "--json", "--anchor", "0" * 64, code=None)
    assert lost["broken"] == "law 10: the anchor is a block of the chain"
    assert "64 hexadecimal digits" in tallystick("verify", "--anchor", "latest", code=2)


async def test_doctor_tells_a_durable_server_from_another(tallystick, pool):
    findings = {one["subject"]: one for one in tallystick("doctor", "--json", code=None)}
    assert findings["database"]["state"] == "ok"
    assert "apply FILE.toml" in findings["catalog"]["detail"]
    # The server of the tests may run without fsync, which is what doctor is to find.
    assert ("durability" in findings) == (await pool.fetchval("select current_setting('fsync')") == "off")


def test_a_refusal_is_one_sentence_and_no_traceback(tallystick):
    for words in (
        ("orgs", "show", "org_nobody"),
        ("credits", "grant", "org_nobody", "5"),
        ("credits", "grant", "org_nobody", "NaN"),
        ("credits", "request", "not-a-uuid"),
        ("keys", "revoke", "key_nobody"),
    ):
        said = tallystick(*words, code=1)
        assert said.startswith("tallystick: "), said
        assert said.count("\n") == 1, said


def test_a_wrong_setting_stops_every_command_with_one_sentence(tallystick):
    said = tallystick("verify", code=1, TALLYSTICK_PORT="zero")
    assert said.startswith("tallystick: TALLYSTICK_PORT")
    assert said.count("\n") == 1
