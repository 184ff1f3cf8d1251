"""An offline Stripe that nobody else uses: all that it ever moved must be explained."""

from collections.abc import Iterator

import pytest

from tests.stand_in import STRIPE, started


@pytest.fixture
def stripe_address() -> Iterator[str]:
    with started(STRIPE) as address:
        yield address
