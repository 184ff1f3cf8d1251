"""The courier: brings events to webhook endpoints, again and again until they are taken, and misbehaves on request.

Stripe promises neither order nor one delivery only. Here each way of breaking a naive receiver can be asked for:
copies, delay, loss, and a hold that is released in an order of your choice.
"""

import asyncio
import random
import time
from collections.abc import Coroutine, Iterable
from dataclasses import dataclass, field
from typing import Literal, TypeAlias

import aiohttp
import structlog

from tallystick.sandbox.stripe.json_text import written
from tallystick.sandbox.stripe.signature import sign
from tallystick.sandbox.stripe.webhook_endpoint import subscribed
from tallystick.sandbox.stripe.world import Object, World

log = structlog.get_logger()

Order: TypeAlias = Literal["created", "reversed", "shuffled"]

_ATTEMPTS_MAX = 10
_BACKOFF_MAX_S = 30.0
_TIMEOUT_S = 20.0
_AT_ONCE_MAX = 64


@dataclass(slots=True)
class Rules:
    """What happens to events from now on. `drop_next` of them are never sent; those on hold wait for `release`.

    Of all others `loss_rate` are lost, `duplicate_rate` come once more than they should, and each waits up to
    `delay_max_s`, by chance: the same seed is the same chance.
    """

    copies: int = 1
    delay_s: float = 0.0
    drop_next: int = 0
    hold: bool = False
    loss_rate: float = 0.0
    duplicate_rate: float = 0.0
    delay_max_s: float = 0.0
    seed: int = 0


@dataclass(slots=True)
class Disguise:
    """How a delivery differs from an honest one: another secret, an old timestamp, a body changed after signing."""

    secret: str | None = None
    age_s: int = 0
    tampered: bool = False

    @property
    def worn(self) -> bool:
        return self.secret is not None or self.age_s != 0 or self.tampered


@dataclass(slots=True)
class Delivery:
    """One event on its way to one endpoint; `attempts` are the answers so far: a status or what went wrong."""

    id: str
    event: str
    type: str
    endpoint: str
    url: str
    body: str
    state: Literal["held", "pending", "delivered", "failed", "dropped"] = "pending"
    attempts: list[str] = field(default_factory=list)
    disguise: Disguise = field(default_factory=Disguise)


class Courier:
    def __init__(self, world: World, client: aiohttp.ClientSession, *, backoff_s: float = 0.25) -> None:
        self._world = world
        self._client = client
        self._backoff_s = backoff_s
        self._running: set[asyncio.Task[None]] = set()
        self._at_once = asyncio.Semaphore(_AT_ONCE_MAX)
        self._taken: set[tuple[str, str]] = set()
        self.rules = Rules()
        self._chance = random.Random(self.rules.seed)  # noqa: S311 - a seed exists to repeat a run exactly
        self.deliveries: dict[str, Delivery] = {}

    def follow(self, rules: Rules) -> None:
        """From now on by these rules."""
        self.rules = rules
        self._chance = random.Random(rules.seed)  # noqa: S311 - as above

    def post(self, event: Object) -> None:
        """Told of every event: sends it to whoever subscribed, by the rules in force."""
        endpoints = subscribed(self._world, event["type"])
        event["pending_webhooks"] = len(endpoints)
        if self.rules.drop_next and endpoints:
            self.rules.drop_next -= 1
            for endpoint in endpoints:
                self._prepare(event, endpoint).state = "dropped"
            return
        for endpoint in endpoints:
            lost = self._chance.random() < self.rules.loss_rate
            twice = self._chance.random() < self.rules.duplicate_rate
            for _ in range(self.rules.copies + twice):
                delivery = self._prepare(event, endpoint)
                if lost:
                    delivery.state = "dropped"
                elif self.rules.hold:
                    delivery.state = "held"
                else:
                    late_s = self._chance.uniform(0, self.rules.delay_max_s)
                    self._start(delivery, delay_s=self.rules.delay_s + late_s)

    def resend(self, event: Object, copies: int, disguise: Disguise) -> list[Delivery]:
        """Sends an event, all copies at the same time, honest or in disguise. It need not be one the API knows."""
        sent = []
        for endpoint in subscribed(self._world, event["type"]):
            for _ in range(copies):
                delivery = self._prepare(event, endpoint, disguise)
                self._start(delivery, delay_s=0)
                sent.append(delivery)
        return sent

    def release(self, order: Order, copies: int) -> list[Delivery]:
        """Sends what was held, one after the other in this order: each is answered before the next one leaves."""
        held = [delivery for delivery in self.deliveries.values() if delivery.state == "held"]
        if order == "reversed":
            held.reverse()
        if order == "shuffled":
            self._chance.shuffle(held)
        queue = [delivery for delivery in held for _ in range(copies)]
        for delivery in held:
            delivery.state = "pending"
        self._spawn(self._deliver_in_turn(queue))
        return held

    def resume(self, deliveries: Iterable[Delivery]) -> None:
        """Takes up the deliveries of an earlier run."""
        for delivery in deliveries:
            self.deliveries[delivery.id] = delivery
            if delivery.state == "delivered":
                self._taken.add((delivery.event, delivery.endpoint))
            if delivery.state == "pending":
                self._start(delivery, delay_s=0)

    async def wait(self, timeout_s: float) -> bool:
        """Waits until nothing is under way (what is held does not count); False when time ran out."""
        deadline = asyncio.get_running_loop().time() + timeout_s
        while self._running:
            left = deadline - asyncio.get_running_loop().time()
            if left <= 0:
                return False
            await asyncio.wait(set(self._running), timeout=left)
        return True

    async def stop(self) -> None:
        for task in self._running:
            task.cancel()
        await asyncio.gather(*self._running, return_exceptions=True)

    def _prepare(self, event: Object, endpoint: Object, disguise: Disguise | None = None) -> Delivery:
        delivery = Delivery(
            id=self._world.identifiers.new("del_"),
            event=event["id"],
            type=event["type"],
            endpoint=endpoint["id"],
            url=endpoint["url"],
            body=written(event),
            disguise=disguise or Disguise(),
        )
        self.deliveries[delivery.id] = delivery
        return delivery

    def _start(self, delivery: Delivery, *, delay_s: float) -> None:
        self._spawn(self._deliver(delivery, delay_s))

    def _spawn(self, work: Coroutine[object, object, None]) -> None:
        task = asyncio.create_task(work)
        self._running.add(task)
        task.add_done_callback(self._running.discard)

    async def _deliver_in_turn(self, queue: list[Delivery]) -> None:
        for delivery in queue:
            await self._deliver(delivery, 0)

    async def _deliver(self, delivery: Delivery, delay_s: float) -> None:
        await asyncio.sleep(delay_s)
        # Stripe never sends what is not genuine, so a receiver that refuses a forgery is not asked again.
        attempts_max = 1 if delivery.disguise.worn else _ATTEMPTS_MAX
        for attempt in range(attempts_max):
            if attempt:
                await asyncio.sleep(min(self._backoff_s * 2 ** (attempt - 1), _BACKOFF_MAX_S))
            if delivery.endpoint not in self._world.objects.get("webhook_endpoint", {}):
                delivery.state = "dropped"
                return
            if await self._try(delivery):
                delivery.state = "delivered"
                self._note_delivered(delivery)
                return
        delivery.state = "failed"
        log.warning("webhook given up", type=delivery.type, url=delivery.url, attempts=delivery.attempts)

    async def _try(self, delivery: Delivery) -> bool:
        """One attempt, signed with its own time of sending as Stripe does: by the clock that receivers have, too."""
        disguise = delivery.disguise
        secret = disguise.secret or self._world.keep("endpoint_secret")[delivery.endpoint]
        body = delivery.body.encode()
        headers = {
            "Content-Type": "application/json; charset=utf-8",
            "Stripe-Signature": sign(body, secret, int(time.time()) - disguise.age_s),
            "User-Agent": "Stripe/1.0 (+https://stripe.com/docs/webhooks)",
        }
        if disguise.tampered:
            body = body.replace(b'"object": "event"', b'"object":"event"', 1)
        # Who waits for their turn must not run out of time meanwhile.
        async with self._at_once:
            return await self._send(delivery, body, headers)

    async def _send(self, delivery: Delivery, body: bytes, headers: dict[str, str]) -> bool:
        timeout = aiohttp.ClientTimeout(total=_TIMEOUT_S)
        try:
            async with self._client.post(
                delivery.url, data=body, headers=headers, timeout=timeout, allow_redirects=False
            ) as response:
                await response.read()
        except (aiohttp.ClientError, TimeoutError) as error:
            delivery.attempts.append(type(error).__name__)
            return False
        delivery.attempts.append(str(response.status))
        return 200 <= response.status < 300

    def _note_delivered(self, delivery: Delivery) -> None:
        """Each endpoint counts once, however many copies it took."""
        event = self._world.objects.get("event", {}).get(delivery.event)
        if event is not None and (delivery.event, delivery.endpoint) not in self._taken:
            self._taken.add((delivery.event, delivery.endpoint))
            event["pending_webhooks"] -= 1
