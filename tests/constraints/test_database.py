"""What the database decides for a request is what `decide` says of it, whatever was used and bought before."""

import random
from collections import Counter

import asyncpg
import msgspec
from plan_file import constraints, read_plan

from tallystick.base.errors import InsufficientCreditsError, QuotaExceeded
from tallystick.base.ids import new_id
from tallystick.constraints.constraints import PeriodRule
from tallystick.constraints.verdict import Balance, Claims, Counters, Request, Use, Verdict, claims, decide
from tallystick.ledger.account import open_account, set_floor
from tallystick.payments.orders.grant import GrantKind, grant
from tallystick.reservations.claim import Admitted, AnyClaim, Claim, FeatureClaim
from tallystick.reservations.lanes import Lanes

STEPS = 150
KINDS: tuple[tuple[GrantKind, int], ...] = (("promotional", 25), ("purchased", 60))
# Amounts of a few nanocredits, so that every edge is met again and again.
PLAN = read_plan(
    """strategy = "custom"
charges_models = true
credit_limit = 0.00000003
meters = [
    { meter = "requests", allowance = 20, cap = 90, overage = { price = 0.000000007, per = 3 } },
    { meter = "dollars", cap = 0.000000090 },
]"""
)


async def test_the_database_decides_as_the_rule_does(pool: asyncpg.Pool, lanes: Lanes) -> None:
    seen: Counter[str] = Counter()
    for seed in range(3):
        seen += await one_customer(pool, lanes, random.Random(seed))
    kinds = {"included", "promotional", "purchased", "overage", "no ads", "no requests", "no credits"}
    assert {kind for kind in kinds if seen[kind] >= 10} == kinds


async def one_customer(pool: asyncpg.Pool, lanes: Lanes, dice: random.Random) -> Counter[str]:
    """Requests one after the other, their holds ended in every way; how each was decided, by both alike."""
    async with pool.acquire() as connection:
        now = await connection.fetchval("select clock_timestamp()")
        account = await open_account(connection)
        # A period that begins now does not end while this runs.
        period = PeriodRule(anchor=now, interval="month")
        rules = msgspec.structs.replace(constraints(PLAN, now), account=account, period=period)
        await set_floor(connection, account, floor=-rules.credit_limit, overdraft=0)
    seen: Counter[str] = Counter()
    for step in range(STEPS):
        if step % 30 == 0:
            kind, amount = KINDS[step // 30 % 2]
            await grant(pool, account, amount, operation=new_id(), kind=kind, source="test")
        asked = Request(
            amount=dice.choice([0, 0, 0, 1, 3]),
            units={"requests": dice.choice([0, 1, 1, 2, 7])},
            features={"ads": dice.choice([1, 2])} if dice.random() < 0.2 else {},
        )
        wanted = claims(rules, asked, now)
        assert isinstance(wanted, Claims)
        async with pool.acquire() as connection:
            at = await connection.fetchval("select clock_timestamp()")
            verdict = decide(rules, *await standing(connection, account), asked, at)
        hold, made = new_id(), as_claims(wanted)
        try:
            admitted = await lanes.admit(hold, account, wanted.amount, made, expires_in_s=60)
        except (QuotaExceeded, InsufficientCreditsError) as refusal:
            seen[refused_alike(verdict, refusal)] += 1
        else:
            seen[admitted_alike(verdict, admitted)] += 1
            await end_somehow(lanes, dice, hold, account, wanted.amount, made)
    return seen


def refused_alike(verdict: Verdict, refusal: QuotaExceeded | InsufficientCreditsError) -> str:
    assert not verdict.admitted
    if isinstance(refusal, InsufficientCreditsError):
        assert verdict.name == "credit_limit"
        return "no credits"
    told = (refusal.layer, refusal.name, refusal.limit, refusal.used, refusal.remaining, refusal.retry_at)
    said = (verdict.layer, verdict.name, verdict.limit, verdict.used, verdict.remaining, verdict.retry_at)
    assert told == said
    return f"no {refusal.name}"


def admitted_alike(verdict: Verdict, admitted: Admitted) -> str:
    assert verdict.admitted
    assert (admitted.layer, admitted.amount) == (verdict.layer, verdict.amount)
    return admitted.layer


async def standing(connection: asyncpg.Connection, account: int) -> tuple[Counters, Balance]:
    """What the rule is told of: the counters and the money as they are now."""
    meters = await connection.fetch("select meter, used + held as units from meter_counter where account = $1", account)
    uses = await connection.fetch("select at, units from feature_use where account = $1", account)
    money = await connection.fetchrow(
        "select posted - held as free, backing from ledger_account where id = $1", account
    )
    promotional = 0 if money["backing"] is None else max(0, money["free"] - money["backing"])
    return (
        Counters(
            meters={row["meter"]: row["units"] for row in meters},
            features={"ads": tuple(Use(use["at"], use["units"]) for use in uses)},
        ),
        Balance(promotional=promotional, purchased=money["free"] - promotional),
    )


def as_claims(wanted: Claims) -> list[AnyClaim]:
    return [
        *(FeatureClaim(feature=use.feature, units=use.units, limit=use.limit) for use in wanted.features),
        *(
            Claim(
                meter=claim.constraint.meter,
                units=claim.units,
                starts_at=claim.period.starts_at,
                ends_at=claim.period.ends_at,
                allowance=claim.constraint.allowance,
                cap=claim.constraint.cap,
                price=claim.constraint.price,
                per=claim.constraint.per,
            )
            for claim in wanted.meters
        ),
    ]


async def end_somehow(lanes: Lanes, dice: random.Random, hold, account: int, amount: int, made: list[AnyClaim]) -> None:
    """Some stay open, some come to nothing, most used less than they claimed."""
    choice = dice.random()
    if choice < 0.3:
        await lanes.release(hold, account)
    elif choice < 0.8:
        units = [claim.units if isinstance(claim, FeatureClaim) else dice.randint(0, claim.units) for claim in made]
        await lanes.settle_claims(hold, account, dice.randint(0, amount), tuple(units))
