"""The sandbox's memory on disk, so that a restart goes on where it stopped."""

import time
from dataclasses import asdict
from pathlib import Path
from typing import Final

import msgspec

from tallystick.sandbox.stripe.courier import Courier, Delivery
from tallystick.sandbox.stripe.idempotency import Keys, Use
from tallystick.sandbox.stripe.world import Object, World

_REST: Final = 9


class Memory(msgspec.Struct):
    advanced_s: int
    objects: dict[str, dict[str, Object]]
    hidden: dict[str, Object]
    uses: dict[str, Use]
    deliveries: list[Delivery]


class StateFile:
    def __init__(self, path: Path, world: World, keys: Keys, courier: Courier) -> None:
        self._path = path
        self._world = world
        self._keys = keys
        self._courier = courier
        self._changed = False
        self._rests_until = 0.0

    def save_soon(self) -> None:
        """To be told of every change: it is written at once, or when there is much to write a little later."""
        self._changed = True
        self.save_when_due()

    def save_when_due(self) -> None:
        """Writes what has changed, unless the writing would then take more than a tenth of the time."""
        if self._changed and time.monotonic() >= self._rests_until:
            began = time.monotonic()
            self.save()
            ended = time.monotonic()
            self._rests_until = ended + _REST * (ended - began)

    def load(self) -> None:
        """Takes over what an earlier run wrote; nothing when there is no file yet."""
        if not self._path.exists():
            return
        memory = msgspec.json.decode(self._path.read_bytes(), type=Memory)
        self._world.advanced_s = memory.advanced_s
        self._world.restore(memory.objects, memory.hidden)
        # A request that was running when the process ended will never answer: its key is free again.
        self._keys.uses.update({key: use for key, use in memory.uses.items() if use.answer is not None})
        self._courier.resume(memory.deliveries)

    def save(self) -> None:
        """Replaces the file in one step, so that a reader or a crash never sees half of it."""
        memory = {
            "advanced_s": self._world.advanced_s,
            "objects": self._world.objects,
            "hidden": self._world.hidden,
            "uses": {key: asdict(use) for key, use in self._keys.uses.items()},
            "deliveries": [asdict(delivery) for delivery in self._courier.deliveries.values()],
        }
        self._changed = False
        written = self._path.with_name(self._path.name + ".new")
        written.write_bytes(msgspec.json.encode(memory))
        written.replace(self._path)
