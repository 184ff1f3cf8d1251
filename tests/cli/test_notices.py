"""`webhooks`, `mail` and `audit` as an operator types them."""

import asyncio
import csv
import io
import json

import asyncpg
import pytest

from tallystick.cli.audit import inert
from tallystick.ledger.audit import record
from tallystick.ledger.seal import seal
from tallystick.notices.mail import write_mail

SEALING = {"TALLYSTICK_SEALING_KEYS": "k1:" + "A" * 43 + "="}


def test_a_webhook_is_made_tried_stopped_and_started(tallystick):
    org = tallystick("orgs", "create", "Ada's lab", "--json")["id"]
    options = {**SEALING, "TALLYSTICK_WEBHOOKS_TO_LOOPBACK": "true"}
    made = tallystick(
        "webhooks", "create", org, "http://127.0.0.1:9/hooks", "--type", "order.*", "--by", "bob", "--json", **options
    )
    assert made["secret"].startswith("whsec_")
    assert made["types"] == ["order.*"]
    assert made["secret"] not in tallystick("webhooks", "list", org)
    tallystick("webhooks", "test", made["id"])
    (sent,) = tallystick("webhooks", "deliveries", made["id"], "--json")
    assert (sent["type"], sent["state"], sent["log"]) == ("webhook.test", "waiting", [])
    tallystick("webhooks", "disable", made["id"], "--by", "bob")
    said = tallystick("webhooks", "test", made["id"], code=1)
    assert "enable it first" in said
    assert "by its owner" in tallystick("webhooks", "list", org)
    tallystick("webhooks", "enable", made["id"], "--by", "bob")
    assert tallystick("webhooks", "replay", made["id"], "--delivery", sent["id"], "--json") == {"messages": 1}
    assert tallystick("webhooks", "replay", made["id"], "--since", "2020-01-01", "--json") == {"messages": 0}
    assert "needs either" in tallystick("webhooks", "replay", made["id"], code=1)
    acts = tallystick("audit", "list", "--organization", org, "--act", "webhook.*", "--json")
    assert [(e["act"], e["origin"]) for e in acts][::-1][:3] == [
        ("webhook.created", "cli"), ("webhook.changed", "cli"), ("webhook.changed", "cli"),
    ]  # fmt: skip
    assert {e["by"] for e in acts if e["act"] != "webhook.replayed"} == {"operator:bob"}


def test_a_webhook_gets_another_secret_and_goes(tallystick):
    org = tallystick("orgs", "create", "Ada's lab", "--json")["id"]
    options = {**SEALING, "TALLYSTICK_WEBHOOKS_TO_LOOPBACK": "true"}
    made = tallystick("webhooks", "create", org, "http://127.0.0.1:9/hooks", "--json", **options)
    rotated = tallystick("webhooks", "rotate", made["id"], "--by", "bob", "--json", **options)
    assert rotated.keys() == made.keys()
    assert rotated["secret"] != made["secret"]
    assert rotated["previous_until"] is not None
    ended = tallystick("webhooks", "rotate", made["id"], "--overlap-hours", "0", "--by", "bob", "--json", **options)
    assert ended["previous_until"] is None
    assert "TALLYSTICK_SEALING_KEYS" in tallystick("webhooks", "rotate", made["id"], code=1)
    assert "no such webhook" in tallystick("webhooks", "rotate", org, code=1, **options)
    gone = tallystick("webhooks", "delete", made["id"], "--by", "bob", "--json")
    assert gone == {"id": made["id"], "deleted": True}
    assert "no such webhook" in tallystick("webhooks", "delete", made["id"], code=1)
    acts = tallystick("audit", "list", "--subject", made["id"], "--json")
    by = {(e["act"], e["by"]) for e in acts}
    assert {("webhook.rotated", "operator:bob"), ("webhook.deleted", "operator:bob")} <= by
    assert ended["secret"] not in json.dumps(acts)


def test_a_webhook_to_the_inside_is_refused(tallystick):
    org = tallystick("orgs", "create", "Ada's lab", "--json")["id"]
    said = tallystick("webhooks", "create", org, "https://169.254.169.254/", code=1, **SEALING)
    assert "public internet" in said
    said = tallystick("webhooks", "create", org, "http://127.0.0.1/", code=1, **SEALING)
    assert "https" in said
    assert tallystick("webhooks", "list", org, "--json") == []


@pytest.mark.parametrize(
    ("variables", "told"),
    [
        ({"TALLYSTICK_WEBHOOKS_TO_LOOPBACK": "true", "TALLYSTICK_HOST": "0.0.0.0"}, "WEBHOOKS_TO_LOOPBACK"),
        ({"SMTP_URL": "smtp://localhost:25"}, "TALLYSTICK_MAIL_FROM"),
        ({"SMTP_URL": "mail.example.com", "TALLYSTICK_MAIL_FROM": "a@example.com"}, "SMTP_URL must be like"),
        ({"TALLYSTICK_MAIL_FROM": "nobody"}, "TALLYSTICK_MAIL_FROM"),
    ],
)
def test_settings_that_contradict_are_refused(tallystick, variables, told):
    assert told in tallystick("orgs", "list", code=1, **variables)


def test_the_mail_server_is_a_secret(tallystick):
    said = tallystick("settings", SMTP_URL="smtps://ada:hunter2@mail.example.com", TALLYSTICK_MAIL_FROM="a@example.com")
    assert "SMTP_URL" in said
    assert "hunter2" not in said


def test_mails_are_read_and_sent_again(tallystick, dsn):
    async def write():
        connection = await asyncpg.connect(dsn)
        await write_mail(connection, "ada@example.com", subject="Invitation", body="https://pay.example/x [bold]")
        await connection.execute("update mail set state = 'failed', problem = '550 no'")
        await connection.close()

    tallystick("orgs", "list")
    asyncio.run(write())
    (listed,) = tallystick("mail", "list", "--state", "failed", "--json")
    assert (listed["recipient"], listed["problem"]) == ("ada@example.com", "550 no")
    assert "https://pay.example/x [bold]" in tallystick("mail", "show", str(listed["seq"]))
    assert tallystick("mail", "retry", str(listed["seq"]), "--json")["state"] == "waiting"
    assert "no such mail" in tallystick("mail", "show", "999", code=1)


@pytest.fixture
def acts(tallystick, dsn):
    """2500 acts, which is more than a page, the last of them with what a spreadsheet would run; sealed but for it."""

    async def write():
        async with asyncpg.create_pool(dsn, min_size=1, max_size=2) as pool, pool.acquire() as connection:
            async with connection.transaction():
                for n in range(2499):
                    await record(connection, "test.done", by="clock", subject=f"s{n}", after={"n": n})
            await seal(pool)
            await record(
                connection, "test.done", by="operator:bob", subject='=HYPERLINK("http://evil")', after={"n": -1}
            )

    tallystick("orgs", "list")
    asyncio.run(write())


def test_the_whole_log_is_exported_with_what_vouches_for_it(tallystick, acts, dsn):
    lines = [json.loads(line) for line in tallystick("audit", "export", "--act", "test.*").splitlines()]
    assert [line["after"]["n"] for line in lines] == [*range(2499), -1]
    assert [line["seq"] for line in lines] == sorted(line["seq"] for line in lines)
    (vouching,) = {line["block_hash"] for line in lines[:-1]}
    assert (lines[-1]["block_hash"], lines[-1]["by"]) == (None, "operator:bob")
    assert "the anchor is a block of the chain" in tallystick("verify", "--anchor", vouching)

    rows = list(csv.reader(io.StringIO(tallystick("audit", "export", "--format", "csv", "--act", "test.*"))))
    assert rows[0][:4] == ["seq", "at", "organization", "act"]
    assert len(rows) == 2501
    assert rows[-1][rows[0].index("subject")] == '\'=HYPERLINK("http://evil")'
    assert tallystick("audit", "export", "--since", "2999-01-01") == ""
    assert "no such user or organization" in tallystick("audit", "export", "--organization", "org_x", code=1)
    (last,) = tallystick("audit", "list", "--limit", "1", "--json")
    assert last["subject"].startswith("=HYPERLINK")


@pytest.mark.parametrize("text", ["=1+1", "+1", "-1", "@SUM(A1)", "\t=1", "\r=1", "\uff1d1"])
def test_no_cell_is_a_formula(text):
    assert inert(text) == f"'{text}"


@pytest.mark.parametrize("text", ["", "order.approved", "1", '{"a":1}', "operator:ada"])
def test_other_cells_stay_as_they_are(text):
    assert inert(text) == text
