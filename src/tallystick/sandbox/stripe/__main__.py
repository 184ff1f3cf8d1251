"""`python -m tallystick.sandbox.stripe`: a Stripe for development, on this machine only, without any money."""

import argparse
import asyncio
import contextlib
import logging
import signal
import socket
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

import structlog
import uvicorn

from tallystick.sandbox.stripe.app import Options, open_sandbox
from tallystick.sandbox.stripe.connection import ResettableProtocol


def main(arguments: Sequence[str] | None = None) -> None:
    chosen = _parser().parse_args(arguments)
    if bool(chosen.webhook_url) != bool(chosen.webhook_secret):
        sys.exit("--webhook-url and --webhook-secret belong together: give both or none.")
    structlog.configure(
        wrapper_class=structlog.make_filtering_bound_logger(logging.INFO),
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
    )
    asyncio.run(_serve(chosen))


async def _serve(chosen: argparse.Namespace) -> None:
    listening = socket.create_server((chosen.host, chosen.port))
    # Connections inherit it. asyncio sees to it only for sockets that name their protocol, and this one does not;
    # without it an answer of two packets waits 40 ms for the client's acknowledgement.
    listening.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    address = f"http://{chosen.host}:{listening.getsockname()[1]}"
    options = Options(
        base_url=(chosen.public_url or address).rstrip("/"),
        webhook_url=chosen.webhook_url,
        webhook_secret=chosen.webhook_secret,
        webhook_events=chosen.webhook_event or ["*"],
        secret_keys=chosen.secret_key,
        debit_delay_s=None if chosen.debit_delay_s < 0 else chosen.debit_delay_s,
        behind_s=chosen.behind_s,
        state=chosen.state,
        seed=chosen.seed,
    )
    async with open_sandbox(options) as app:
        config = uvicorn.Config(
            app,
            http=ResettableProtocol,
            log_level="warning",
            lifespan="off",
            # A call that is being slow on request must not hold up the end of the process.
            timeout_graceful_shutdown=1,
        )
        server = _Announcing(config, address)
        await server.serve(sockets=[listening])


class _Announcing(uvicorn.Server):
    """Prints its address, alone on one line, once it answers: who started it waits for that line.

    Asked to stop it does so and returns; uvicorn's own handling would kill the process before the state is saved.
    """

    def __init__(self, config: uvicorn.Config, address: str) -> None:
        super().__init__(config)
        self._address = address

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        print(self._address, flush=True)  # noqa: T201 - this line is the interface

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self.handle_exit, number, None)
        yield


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m tallystick.sandbox.stripe", description=__doc__)
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=0, help="0 takes a free one (default)")
    parser.add_argument("--public-url", default="", help="how a browser reaches it, when not by host and port")
    parser.add_argument("--webhook-url", default="", help="where events are sent")
    parser.add_argument("--webhook-secret", default="", help="whsec_..., signs them")
    parser.add_argument("--webhook-event", action="append", help="only this type; repeat for more (default: all)")
    parser.add_argument(
        "--secret-key", action="append", default=[], help="accept only this key (default: any sk_test_)"
    )
    parser.add_argument("--debit-delay-s", type=float, default=3.0, help="until a bank answers; -1: never")
    parser.add_argument("--behind-s", type=int, default=0, help="its clock starts so long ago; a control moves it on")
    parser.add_argument("--state", type=Path, help="keep everything in this file")
    parser.add_argument("--seed", type=int, help="the same ids in the same order every time")
    return parser


if __name__ == "__main__":
    main()
