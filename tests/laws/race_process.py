"""A process with lanes of its own that reserves many holds at once, at a word, and tells what became of them."""

import asyncio
import json
import sys

from tallystick.base.errors import InsufficientCreditsError
from tallystick.base.ids import new_id
from tallystick.reservations.lanes import Lanes


async def main(dsn: str, account: int, amount: int, callers: int, batch_max: int) -> None:
    lanes = Lanes(dsn, batch_max=batch_max)
    await lanes.start()
    holds = [new_id() for _ in range(callers)]
    tell("ready")
    await asyncio.to_thread(sys.stdin.readline)
    answers = await asyncio.gather(
        *(lanes.reserve(hold, account, amount, expires_in_s=600) for hold in holds), return_exceptions=True
    )
    await lanes.stop()
    granted = [str(hold) for hold, answer in zip(holds, answers, strict=True) if answer is None]
    refused = [answer for answer in answers if type(answer) is InsufficientCreditsError]
    other = [repr(answer) for answer in answers if answer is not None and type(answer) is not InsufficientCreditsError]
    tell(json.dumps({"granted": granted, "refused": len(refused), "other": other}))


def tell(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], *map(int, sys.argv[2:])))
