"""`python -m bench [ledger] [plans] [gateway] [streams] [start] [growth]`: the figures, as ratios within one run.

Without names everything but growth is run. It exits with 1 when the books of a run do not add up, whatever its speed;
a missed target is told in the table.
"""

import argparse
import sys
from collections.abc import Callable, Coroutine
from functools import partial
from pathlib import Path
from typing import Final

import uvloop

from bench import gateway, growth, ledger, litellm_proxy, machine, plans, start, streams
from bench.effort import FULL, QUICK, Effort, say
from bench.embedded import add_database, embedded_postgres
from bench.load import LoadFailed
from bench.report import Figure, WrongBooks, markdown, medians, write

_DOCUMENT: Final = Path(__file__).parent.parent / "docs" / "benchmarks.md"
_ALWAYS: Final = ("ledger", "plans", "gateway", "streams", "start")
# Each opens its accounts anew, which takes longer than it measures.
_LEDGER_ROUNDS: Final = 3

Run = Callable[[Effort], Coroutine[None, None, list[Figure]]]


def main() -> int:
    chosen = _parser().parse_args()
    runs: dict[str, Run] = {
        "ledger": _ledger,
        "gateway": gateway.run,
        "streams": streams.run,
        "start": start.run,
        "plans": plans.run,
        "growth": partial(growth.run, transfers=chosen.transfers),
        "litellm": litellm_proxy.run,
    }
    names = list(chosen.runs or _ALWAYS) + (["litellm"] if chosen.litellm else [])
    place = machine.description(sys.argv[1:], litellm=litellm_proxy.version() if chosen.litellm else None)
    print(place, flush=True)
    figures: list[Figure] = []
    try:
        for name in names:
            say(f"== {name}")
            figures += uvloop.run(runs[name](QUICK if chosen.quick else FULL))
    except (WrongBooks, LoadFailed) as error:
        print(f"\nFAILED: {error}", file=sys.stderr)
        return 1
    table = markdown(figures)
    print(f"\n{table}")
    if chosen.write:
        write(_DOCUMENT, ", ".join(names), f"{place}\n\n{table}")
    return 0


async def _ledger(effort: Effort) -> list[Figure]:
    """Each round of the ledger's benchmark reconciles its own books."""
    rounds = []
    async with embedded_postgres() as (dsn, _):
        for number in range(min(effort.rounds, _LEDGER_ROUNDS)):
            rounds.append(await ledger.run(await add_database(dsn, f"round_{number}"), seconds=effort.seconds / 2))
            say(f"Round {number + 1}\n{markdown(rounds[-1])}")
    return medians(rounds)


def _run(name: str) -> str:
    # Not argparse's `choices`: it would hold the empty list against them where no run is named.
    if name not in (known := (*_ALWAYS, "growth", "litellm")):
        raise argparse.ArgumentTypeError(f"{name!r} is none of {', '.join(known)}")
    return name


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    parser.add_argument("runs", nargs="*", type=_run, metavar="run")
    parser.add_argument("--quick", action="store_true", help="one short round: shows that it works, measures nothing")
    parser.add_argument("--litellm", action="store_true", help="also LiteLLM's proxy, installed on first use")
    parser.add_argument("--transfers", type=int, default=20_000_000, help="how far growth fills the ledger")
    parser.add_argument("--write", action="store_true", help="put the table into docs/benchmarks.md")
    return parser


if __name__ == "__main__":
    sys.exit(main())
