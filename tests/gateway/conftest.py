import sys
from collections.abc import AsyncIterator
from pathlib import Path

import asyncpg
import pytest

# The tests of this folder share modules; their names start with "gateway_" to stay clear of other folders'.
sys.path.insert(0, str(Path(__file__).parent))

from gateway_plans import PLANS
from gateway_world import HASTY, HASTY_S, World, run_world


@pytest.fixture
async def world(dsn: str, pool: asyncpg.Pool, tmp_path: Path) -> AsyncIterator[World]:
    async with run_world(dsn, pool, tmp_path / "journals") as running:
        yield running


@pytest.fixture
async def hasty(dsn: str, pool: asyncpg.Pool, tmp_path: Path) -> AsyncIterator[World]:
    """One whose database will be taken away."""
    folder = tmp_path / "journals"
    async with run_world(dsn, pool, folder, plans=PLANS, limits=HASTY, patience_s=HASTY_S) as running:
        yield running
