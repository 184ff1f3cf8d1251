import asyncpg
import pytest

from tallystick.base.errors import InvalidInput
from tallystick.notices.notice_type import TEST, TYPES, check_patterns, wants


@pytest.mark.parametrize("patterns", [["*"], ["order.*"], ["order.paid", "quota.exceeded"], list(TYPES)])
def test_patterns_that_some_notice_has(patterns: list[str]) -> None:
    assert check_patterns(patterns) == patterns


def test_a_pattern_twice_is_one() -> None:
    assert check_patterns(["order.*", "order.*"]) == ["order.*"]


@pytest.mark.parametrize(
    "patterns",
    [[], ["order"], ["order.x"], ["orders.*"], ["*.paid"], ["order.**"], [""], ["ORDER.PAID"], ["order.paid\0"], [TEST],
     ["webhook.*"], ["*"] * 51],
)  # fmt: skip
def test_patterns_that_none_will_have_are_refused(patterns: list[str]) -> None:
    with pytest.raises(InvalidInput):
        check_patterns(patterns)


async def test_the_database_decides_as_we_do(pool: asyncpg.Pool) -> None:
    kinds = [*TYPES, "order_x.paid", "orders.paid", "order"]
    for pattern in ("*", "order.*", "order.paid", "subscription.*", "balance.low"):
        for kind in kinds:
            assert await pool.fetchval("select webhook_wants($1, $2)", [pattern], kind) == wants(pattern, kind)
