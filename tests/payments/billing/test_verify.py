"""What would be wrong with invoices and subscriptions is found."""

import json

import pytest

from tallystick.payments.billing import verify


async def _problems(pool):
    async with pool.acquire() as connection, connection.transaction():
        found = [await check.run(connection) for check in verify.checks]
    return [problem for problems in found for problem in problems]


@pytest.mark.parametrize(
    ("tampering", "problem"),
    [
        ("update stripe_invoice set amount_paid_minor = 9800", "the books have 99000000000 from Stripe"),
        ("update stripe_invoice set amount_elsewhere_minor = 100", "of that 100 elsewhere"),
        ("update stripe_invoice set operation = null", "is not in the books"),
        ("update stripe_invoice set operation = gen_random_uuid()", "the books have 0 from Stripe"),
        ("update stripe_subscription set status = 'canceled'", "at Stripe is canceled"),
        ("delete from stripe_subscription", "at Stripe is unknown"),
        ("update stripe_subscription set status = 'unpaid'", "is active here"),
    ],
)
async def test_what_does_not_fit_is_told(subscriber, pool, tampering, problem):
    await subscriber.subscribe("growth")
    await subscriber.hear()
    assert await _problems(pool) == []
    before = await pool.fetch("select id, operation, amount_paid_minor from stripe_invoice")
    mirrored = await pool.fetchrow("select * from stripe_subscription")
    await pool.execute(tampering)
    found = await _problems(pool)
    assert any(problem in one for one in found), found
    # Mended, for the books must be in order afterwards.
    for row in before:
        await pool.execute(
            "update stripe_invoice set operation = $2, amount_paid_minor = $3, amount_elsewhere_minor = 0"
            " where id = $1",
            *row,
        )
    await pool.execute("delete from stripe_subscription")
    await pool.execute(
        "insert into stripe_subscription select * from json_populate_record(null::stripe_subscription, $1)",
        json.dumps(dict(mirrored), default=str),
    )
