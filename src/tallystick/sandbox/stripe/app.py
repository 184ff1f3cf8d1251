"""The sandbox's web application: the API, the payment page and the controls, on one world in memory."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import aiohttp
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route
from starlette.types import ASGIApp, Receive, Scope, Send

from tallystick.sandbox.stripe import checkout_session, collection, due
from tallystick.sandbox.stripe.api import Api
from tallystick.sandbox.stripe.controls import Controls
from tallystick.sandbox.stripe.courier import Courier
from tallystick.sandbox.stripe.fault import Faults
from tallystick.sandbox.stripe.idempotency import Keys
from tallystick.sandbox.stripe.identifier import Identifiers
from tallystick.sandbox.stripe.invoice_page import InvoicePage
from tallystick.sandbox.stripe.money_controls import MoneyControls
from tallystick.sandbox.stripe.payment_page import PaymentPage
from tallystick.sandbox.stripe.portal_page import PortalPage
from tallystick.sandbox.stripe.state_file import StateFile
from tallystick.sandbox.stripe.subscription_controls import SubscriptionControls
from tallystick.sandbox.stripe.webhook_endpoint import register
from tallystick.sandbox.stripe.world import World

_TICK_S = 0.25


@dataclass(frozen=True, slots=True)
class Options:
    base_url: str
    webhook_url: str = ""
    webhook_secret: str = ""
    webhook_events: Sequence[str] = ("*",)
    secret_keys: Sequence[str] = ()
    debit_delay_s: float | None = 3.0
    behind_s: int = 0
    state: Path | None = None
    seed: int | None = None


@contextlib.asynccontextmanager
async def open_sandbox(options: Options) -> AsyncIterator[ASGIApp]:
    """The running application: its courier and its clock stop when the block ends."""
    world = World(Identifiers(options.seed), base_url=options.base_url, debit_delay_s=options.debit_delay_s)
    world.advanced_s = -options.behind_s
    keys, faults = Keys(), Faults()
    async with aiohttp.ClientSession() as client:
        courier = Courier(world, client)
        file = None if options.state is None else StateFile(options.state, world, keys, courier)
        if file is not None:
            file.load()
        if options.webhook_url and not _registered(world, options):
            register(world, options.webhook_url, secret=options.webhook_secret, events=list(options.webhook_events))
        # The courier first: what happened to the intent is posted before what follows for its invoice and session.
        world.on_event.append(courier.post)
        world.on_event.append(lambda event: collection.follow(world, event))
        world.on_event.append(lambda event: checkout_session.follow(world, event))
        ticking = asyncio.create_task(_keep_time(world, file))
        try:
            yield _saving(_application(world, keys, faults, courier, options), file)
        finally:
            ticking.cancel()
            await courier.stop()
            if file is not None:
                file.save()


def _application(world: World, keys: Keys, faults: Faults, courier: Courier, options: Options) -> Starlette:
    api = Api(world, keys, faults, options.secret_keys)

    async def call(request: Request) -> Response:
        return await api(request)

    return Starlette(
        routes=[
            Route("/v1/{path:path}", call, methods=["GET", "POST", "DELETE", "PUT", "PATCH"]),
            *PaymentPage(world).routes(),
            *InvoicePage(world).routes(),
            *PortalPage(world).routes(),
            *Controls(world, courier, faults).routes(),
            *MoneyControls(world).routes(),
            *SubscriptionControls(world).routes(),
        ]
    )


def _registered(world: World, options: Options) -> bool:
    """Whether an earlier run, read from the state file, left the endpoint of the command line registered."""
    secrets = world.keep("endpoint_secret")
    return any(
        endpoint["url"] == options.webhook_url and secrets[endpoint["id"]] == options.webhook_secret
        for endpoint in world.all("webhook_endpoint")
    )


def _saving(app: ASGIApp, file: StateFile | None) -> ASGIApp:
    """Writes the state file after every request that may have changed something."""
    if file is None:
        return app

    async def save_after(scope: Scope, receive: Receive, send: Send) -> None:
        await app(scope, receive, send)
        if scope["type"] == "http" and scope["method"] != "GET":
            file.save_soon()

    return save_after


async def _keep_time(world: World, file: StateFile | None) -> None:
    """Sessions expire and debits settle by themselves."""
    while True:
        await asyncio.sleep(_TICK_S)
        happened = due.run(world)
        if file is not None and happened:
            file.save_soon()
        if file is not None:
            file.save_when_due()
