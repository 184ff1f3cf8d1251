"""`python -m tallystick.sandbox.model`: a model provider for development that speaks OpenAI's chat protocol.

Replies and token counts are exact and repeatable: see chat.py and tokens.py for the rules.
"""

import argparse
import asyncio
import contextlib
import signal
import socket
from collections.abc import Sequence

import uvloop

from tallystick.sandbox.model.canned import Canned
from tallystick.sandbox.model.http_connection import Connection
from tallystick.sandbox.model.provider import Pace, Provider


def main(arguments: Sequence[str] | None = None) -> None:
    chosen = _parser().parse_args(arguments)
    uvloop.run(_serve(chosen))


async def _serve(chosen: argparse.Namespace) -> None:
    pace = Pace(chosen.delay_ms / 1000, chosen.chunk_delay_ms / 1000)
    provider = Canned(pace) if chosen.canned else Provider(pace, chosen.model)
    loop = asyncio.get_running_loop()
    listening = socket.create_server((chosen.host, chosen.port), backlog=4096, reuse_port=chosen.reuse_port)
    server = await loop.create_server(lambda: Connection(provider.answer), sock=listening)
    stopped = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stopped.set)
    # Alone on one line, once it answers: who started it waits for this line.
    print(f"http://{chosen.host}:{listening.getsockname()[1]}", flush=True)  # noqa: T201 - this line is the interface
    with contextlib.closing(server):
        await stopped.wait()


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m tallystick.sandbox.model", description=__doc__)
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=0, help="0 takes a free one (default)")
    parser.add_argument("--reuse-port", action="store_true", help="share the port with other processes of this kind")
    parser.add_argument("--delay-ms", type=float, default=0, help="before the first byte of an answer")
    parser.add_argument("--chunk-delay-ms", type=float, default=0, help="between the chunks of a stream")
    parser.add_argument("--model", action="append", default=[], help="know only this model; repeat for more")
    parser.add_argument("--canned", action="store_true", help="the same fixed answer to every POST, for benchmarks")
    return parser


if __name__ == "__main__":
    main()
