"""The admissions of a batch: holds that claim limits, as the entries that the database wants, and their answers."""

from asyncio import Future
from datetime import datetime
from typing import Any
from uuid import UUID

import asyncpg

from tallystick.base.errors import InsufficientCreditsError, NotFound, QuotaExceeded, TallystickError
from tallystick.reservations.claim import Admitted, AnyClaim, Claim, FeatureClaim
from tallystick.reservations.hold import HoldConflict, HoldEnded, WrongPeriod

Claims = tuple[AnyClaim, ...]


def claims(wanted: list[Claims]) -> list[tuple[object, ...]]:
    """Every claim of every admission as an entry, with the place of its admission."""
    return [(place, *_fields(claim)) for place, claims in enumerate(wanted, 1) for claim in claims]


def _fields(claim: AnyClaim) -> tuple[object, ...]:
    if isinstance(claim, FeatureClaim):
        return claim.feature, None, None, claim.units, 0, claim.limit, 0, 1
    return (
        *(claim.meter, claim.starts_at, claim.ends_at, claim.units),
        *(claim.allowance, claim.cap, claim.price, claim.per),
    )


def answer(
    entries: list[tuple[Any, ...]], wanted: list[Claims], futures: "list[Future[Any]]", row: asyncpg.Record
) -> None:
    """Tell everyone what batch_admit decided."""
    first = 0
    found = zip(
        row["codes"], row["amounts"], row["layers"], row["availables"], row["refused"], row["retry_at"], strict=True
    )
    for place, (code, amount, layer, available, refused, retry_at) in enumerate(found):
        claims = wanted[place]
        taken = row["taken"][first : first + len(claims)]
        future = futures[place]
        if not future.done():
            if code in ("admitted", "repeated"):
                # Below zero where a cheaper price than before also frees what was set aside for others.
                held, repeated = max(0, amount), code == "repeated"
                future.set_result(Admitted(layer=layer, amount=held, used=tuple(taken), repeated=repeated))
            elif code == "limit":
                number = refused - 1 - first
                future.set_exception(_exceeded(claims[number], taken[number], retry_at))
            elif code == "insufficient":
                future.set_exception(InsufficientCreditsError(available, amount))
            elif code == "period":
                future.set_exception(WrongPeriod(row["now"]))
            else:
                future.set_exception(_refusal(code, entries[place][0]))
        first += len(claims)


def _exceeded(claim: AnyClaim, used: int, retry_at: datetime | None) -> QuotaExceeded:
    if isinstance(claim, FeatureClaim):
        return QuotaExceeded(
            f"The limit of {claim.limit} uses of {claim.feature} in 30 days is reached.",
            layer="quota", name=claim.feature, limit=claim.limit or 0, used=used, retry_at=retry_at,
        )  # fmt: skip
    return _used_up(claim, used, retry_at)


def _used_up(claim: Claim, used: int, retry_at: datetime | None) -> QuotaExceeded:
    limit = claim.cap or 0
    message = (
        f"The limit of {limit} {claim.meter} for this period is reached."
        if used + claim.units <= limit or used >= limit
        else f"This needs up to {claim.units} {claim.meter}; {max(0, limit - used)} of {limit} are left in this period."
    )
    # Waiting for the next period does not make room for more than a whole one has.
    retry_at = retry_at if claim.units <= limit else None
    return QuotaExceeded(
        message,
        layer="overage" if claim.price else "included",
        name=claim.meter,
        limit=limit,
        used=used,
        retry_at=retry_at,
    )


def _refusal(code: str, hold: UUID) -> TallystickError:
    match code:
        case "conflict":
            return HoldConflict(f"{hold} was used before, with other content")
        case "ended":
            return HoldEnded(f"hold {hold} has ended")
        case "no_account":
            return NotFound("there is no such account")
        case _:
            raise AssertionError(f"batch_admit answered {code}")
