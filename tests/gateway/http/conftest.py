import asyncio
import sys
from collections.abc import AsyncIterator, Callable, Mapping
from pathlib import Path

import pytest
import uvloop

# The tests of this folder share modules; their names start with "http_" to stay clear of other folders'.
sys.path.insert(0, str(Path(__file__).parent))

from http_server import RawServer


def pytest_asyncio_loop_factories() -> Mapping[str, Callable[[], asyncio.AbstractEventLoop]]:
    """What is served runs on uvloop, what is tested elsewhere on asyncio: their transports differ at the edges."""
    return {"asyncio": asyncio.new_event_loop, "uvloop": uvloop.new_event_loop}


@pytest.fixture
async def server() -> AsyncIterator[RawServer]:
    async with RawServer() as running:
        yield running
