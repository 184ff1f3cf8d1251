"""Plans and subscriptions as an operator types them."""

import pytest

from tests.subscriptions.shop import CATALOG, DEARER


@pytest.fixture
def org(tallystick, tmp_path):
    (tmp_path / "catalog.toml").write_text(CATALOG)
    tallystick("apply", "catalog.toml")
    return tallystick("orgs", "create", "Acme", "--json")["id"]


def test_from_a_trial_to_the_end(tallystick, org):
    assert [plan["slug"] for plan in tallystick("plans", "list", "--json")] == ["starter", "pro", "yearly"]
    assert "100000 included then 0.50 per 1000" in tallystick("plans", "show", "pro")

    made = tallystick("subscriptions", "start", org, "--plan", "starter", "--json")
    assert (made["status"], made["organization"]) == ("trialing", org)
    said = tallystick("constraints", "show", org)
    assert "meter requests" in said
    assert "10000 included, cap 10000" in said
    assert "quota reports" in said

    tallystick("subscriptions", "cancel", org, "--at-once")
    tallystick("subscriptions", "start", org, "--plan", "starter", "--trial-days", "0")
    changed = tallystick("subscriptions", "change", org, "--plan", "pro", "--json")
    # Changed within the minute, or within the cent: all of the old is credited, all of the new is due.
    assert changed["proration"]["due"]["price_minor"] == 9900
    assert 6990 <= changed["proration"]["net_minor"] <= 7000
    scheduled = tallystick("subscriptions", "change", org, "--plan", "starter")
    assert scheduled.startswith("The plan becomes starter at ")
    (listed,) = tallystick("subscriptions", "list", "--json")
    assert (listed["plan"], listed["pending_at"] is not None) == ("pro", True)

    assert "refused" in tallystick("subscriptions", "pause", org)
    assert tallystick("constraints", "show", org, "--json")["access"] is False
    assert tallystick("subscriptions", "resume", org, "--json")["status"] == "active"
    shown = tallystick("subscriptions", "show", org, "--json")
    assert [event["what"] for event in shown["history"]] == [
        "resumed",
        "paused",
        "plan_change_scheduled",
        "plan_changed",
        "subscribed",
        "canceled",
        "subscribed",
    ]
    assert shown["history"][3]["proration"]["due"]["price_minor"] == 9900
    assert "plan_change_scheduled" in tallystick("subscriptions", "show", org)


def test_who_has_not_paid_keeps_access_for_the_days_of_grace(tallystick, org):
    tallystick("subscriptions", "start", org, "--plan", "starter", "--trial-days", "0")
    assert tallystick("subscriptions", "past-due", org).startswith("Past due since ")
    (late,) = tallystick("subscriptions", "list", "--json")
    assert (late["status"], late["grace_ends_at"] > late["past_due_since"]) == ("past_due", True)
    assert tallystick("constraints", "show", org, "--json")["access"] is True
    assert tallystick("subscriptions", "paid", org) == "Nothing is past due. The subscription is active.\n"
    assert tallystick("subscriptions", "list", "--json")[0]["past_due_since"] is None
    assert "no such user or organization" in tallystick("subscriptions", "past-due", "org_nobody", code=1)


def test_a_move_to_the_newest_version(tallystick, org, tmp_path):
    tallystick("subscriptions", "start", org, "--plan", "starter")
    (tmp_path / "catalog.toml").write_text(DEARER)
    tallystick("apply", "catalog.toml")
    assert tallystick("constraints", "show", org, "--json")["meters"][0]["allowance"] == 10_000
    assert tallystick("subscriptions", "move", "--plan", "starter", "--all", "--json") == {"moved": 1, "left": {}}
    assert tallystick("constraints", "show", org, "--json")["meters"][0]["allowance"] == 5_000
    assert "already" in tallystick("subscriptions", "move", org, "--plan", "starter", code=1)
    assert "--all" in tallystick("subscriptions", "move", "--plan", "starter", code=1)


def test_what_is_agreed_beside_the_plan(tallystick, org):
    tallystick("subscriptions", "override", org, "--quota", "reports=unlimited", "--credit-limit", "2.5", "--metered")
    tallystick("subscriptions", "override", org, "--concurrency", "3")
    found = tallystick("constraints", "show", org, "--json")
    assert (found["quotas"], found["credit_limit"]) == ({"reports": None}, 2_500_000_000)
    assert (found["rates"]["concurrency"], "metered" in found["auth_modes"]) == (3, True)
    assert found["version"] == 2
    agreed = tallystick("subscriptions", "override", org, "--quota", "reports=plan", "--credit-limit", "plan", "--json")
    assert (agreed["quotas"], agreed["credit_limit"], agreed["rates"]["concurrency"]) == ({}, None, 3)
    assert tallystick("subscriptions", "override", org, "--clear", "--json")["rates"] is None


def test_a_refusal_is_one_sentence(tallystick, org):
    for words in (
        ("subscriptions", "start", org, "--plan", "platinum"),
        ("subscriptions", "start", "org_nobody", "--plan", "pro"),
        ("subscriptions", "change", org, "--plan", "pro"),
        ("subscriptions", "cancel", org),
        ("subscriptions", "override", org),
        ("subscriptions", "override", org, "--quota", "reports"),
        ("subscriptions", "override", org, "--quota", "raports=3"),
        ("subscriptions", "override", org, "--credit-limit", "NaN"),
        ("plans", "show", "platinum"),
        ("constraints", "show", "org_nobody"),
    ):
        said = tallystick(*words, code=1)
        assert said.startswith("tallystick: "), said
        assert said.count("\n") == 1, said


def test_before_anything_is_sold(tallystick):
    assert "tallystick apply" in tallystick("plans", "list")
    assert tallystick("plans", "list", "--json") == []
    assert tallystick("plans", "show", "pro", code=1) == "tallystick: There is no plan 'pro'. On sale: none yet.\n"


def test_what_is_agreed_is_told_in_credits(tallystick, org):
    said = tallystick("subscriptions", "override", org, "--quota", "reports=unlimited", "--credit-limit", "250")
    assert said == "Agreed: reports unlimited, credit limit 250.00.\n"
    assert "reports unlimited, credit limit 250.00" in tallystick("subscriptions", "show", org)
    assert tallystick("subscriptions", "override", org, "--clear") == "Agreed: nothing.\n"
    assert "On sale: starter, pro, yearly." in tallystick("plans", "show", "platinum", code=1)
