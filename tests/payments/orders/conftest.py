"""What tests of orders share: coupons as a catalog writes them, and what was told of an order."""

import json

import pytest

from tallystick.catalog.coupon_entries import read_coupon
from tallystick.catalog.tables import CouponTable


@pytest.fixture
def coupon():
    def make(code="HALF", **fields):
        return read_coupon(CouponTable(code=code, **fields), f"coupon {code}")

    return make


@pytest.fixture
def told(pool):
    """The types of the notices so far, with the state they tell of where they tell of one."""

    async def ask():
        rows = await pool.fetch("select type, data from notice order by seq")
        return [(row["type"], json.loads(row["data"])) for row in rows]

    return ask


@pytest.fixture
def audited(pool):
    async def ask():
        rows = await pool.fetch("select act, done_by from audit_event order by seq")
        return [(row["act"], row["done_by"]) for row in rows if row["act"].startswith(("order.", "coupon.", "top_up."))]

    return ask
