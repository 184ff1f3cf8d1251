"""A till whose customer owes for a dispute."""

import pytest

from tests.payments.refunds.till import Till


@pytest.fixture
async def owing(till: Till) -> str:
    """The dispute of 25 dollars' credits, which were spent."""
    paid = await till.buy()
    await till.spend(25 * 10**9)
    dispute = await till.dispute(paid)
    await till.receive(await till.events(paid))
    return dispute
