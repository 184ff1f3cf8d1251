import sys
from collections.abc import AsyncIterator
from pathlib import Path

import asyncpg
import pytest

# The tests of this folder share modules; their names start with "gateway_" to stay clear of other folders'.
sys.path.insert(0, str(Path(__file__).parent))

from gateway_world import World, run_world


@pytest.fixture
async def world(dsn: str, pool: asyncpg.Pool, tmp_path: Path) -> AsyncIterator[World]:
    async with run_world(dsn, pool, tmp_path / "journals") as running:
        yield running
