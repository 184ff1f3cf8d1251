"""What is sold in these tests, and the days on which it is."""

from datetime import UTC, datetime

CATALOG = """
[[feature]]
name = "reports"
title = "Reports"
limits = { free = 10, pro = 100, enterprise = "unlimited" }

[[plan]]
slug = "starter"
name = "Starter"
strategy = "included"
price = 29
tier = "free"
trial_days = 14
[[plan.meters]]
meter = "requests"
allowance = 10_000

[[plan]]
slug = "pro"
name = "Pro"
strategy = "overage"
price = 99
tier = "pro"
credit_limit = 100
overdraft = 2
[[plan.meters]]
meter = "requests"
allowance = 100_000
overage = { price = 0.50, per = 1_000 }

[[plan]]
slug = "yearly"
name = "Pro, by the year"
strategy = "overage"
price = 1_200
interval = "year"
tier = "pro"
credit_limit = 100
[[plan.meters]]
meter = "requests"
allowance = 1_200_000
overage = { price = 0.50, per = 1_000 }
"""
DEARER = CATALOG.replace("price = 29", "price = 39").replace("allowance = 10_000", "allowance = 5_000")
LONG_AGO = datetime(2023, 1, 1, tzinfo=UTC)


def at(text: str) -> datetime:
    """ "2024-02-29" or "2024-02-29 13:00", UTC."""
    return datetime.fromisoformat(text).replace(tzinfo=UTC)
