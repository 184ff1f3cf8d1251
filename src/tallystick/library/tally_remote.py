"""A Tallystick over HTTP: the same questions, asked of a server with a service token.

What is lost on the way is sent again with the same id, so that it is counted once.
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import datetime
from typing import Any, TypeVar

import httpx
import msgspec

from tallystick.base import strict_json
from tallystick.base.errors import InvalidInput, Misconfigured, QuotaExceeded, TallystickError, Unauthorized
from tallystick.base.ids import new_id
from tallystick.library import remote
from tallystick.library.remote import Question
from tallystick.library.tally_engine import HeldCharge, SettledCharge
from tallystick.quotas.limit import NoAccess, UnknownFeature
from tallystick.quotas.use import QuotaCheck, TierUsage, Use

_Answer = TypeVar("_Answer", bound=msgspec.Struct)


@asynccontextmanager
async def connect_remote(url: str, *, service_token: str, timeout_s: float) -> AsyncIterator["RemoteTally"]:
    """For as long as the block lasts."""
    headers = remote.headers(None, service_token)
    async with httpx.AsyncClient(base_url=url, headers=headers, timeout=timeout_s) as http:
        yield RemoteTally(http)


class RemoteTally:
    def __init__(self, http: httpx.AsyncClient) -> None:
        self._http = http

    async def tier(self, user: str) -> str:
        return (await self.usage(user)).tier

    async def usage(self, user: str) -> TierUsage:
        return await self._read("/api/tier/usage", TierUsage, user_id=user)

    async def check(self, user: str, feature: str, units: int) -> QuotaCheck:
        return await self._read("/api/tier/check", QuotaCheck, user_id=user, feature=feature, units=str(units))

    async def use(self, user: str, feature: str, units: int, request_id: str | None) -> Use:
        return await self._tell(
            "/api/tier/use", Use, user_id=user, feature=feature, units=units, request_id=request_id or str(new_id())
        )

    async def give_back(self, user: str, use: str) -> None:
        await self._ask(_post("/api/tier/give-back", user_id=user, id=use))

    async def reserve(
        self, user: str, meter: str, quantity: int, *, feature: str | None, request_id: str | None, lasts_s: int
    ) -> HeldCharge:
        return await self._tell(
            "/api/usage/reserve",
            HeldCharge,
            user_id=user,
            meter=meter,
            quantity=quantity,
            feature=feature,
            request_id=request_id or str(new_id()),
            lasts_s=lasts_s,
        )

    async def settle(self, user: str, charge: str, quantity: int | None) -> SettledCharge:
        return await self._tell("/api/usage/settle", SettledCharge, user_id=user, id=charge, quantity=quantity)

    async def release(self, user: str, charge: str) -> None:
        await self._ask(_post("/api/usage/release", user_id=user, id=charge))

    async def _read(self, url: str, answer: type[_Answer], **params: str) -> _Answer:
        return remote.answer(await self._ask(Question(method="GET", url=url, params=params)), answer)

    async def _tell(self, url: str, answer: type[_Answer], **given: object) -> _Answer:
        return remote.answer(await self._ask(_post(url, **given)), answer)

    async def _ask(self, question: Question) -> bytes:
        attempt = 0
        while True:
            try:
                outcome = judge(await self._http.request(**msgspec.structs.asdict(question)))
            except httpx.TransportError as problem:
                outcome = remote.unreachable(problem)
            if isinstance(outcome, bytes):
                return outcome
            attempt += 1
            pause_s = remote.pause_s(outcome, attempt)
            if pause_s is None:
                raise outcome
            await asyncio.sleep(pause_s)


def judge(response: httpx.Response) -> bytes | TallystickError:
    """The body of a success, or the error that the server raised, as its class."""
    if response.status_code == QuotaExceeded.status and (refusal := _quota_exceeded(response.content)) is not None:
        return refusal
    outcome = remote.judge(response)
    if isinstance(outcome, bytes):
        return outcome
    if isinstance(outcome, Unauthorized):
        # It is the application's token, not its customer's: a 401 would send the wrong one to sign in.
        return Misconfigured("The server does not accept this application's service token.")
    for known in (UnknownFeature, NoAccess):
        if outcome.details.get("code") == known.code:
            return _as(known, outcome)
    return outcome


def _as(known: type[UnknownFeature | NoAccess], told: TallystickError) -> TallystickError:
    if known is UnknownFeature:
        return UnknownFeature("feature", "is not in the catalog")
    return NoAccess(told.message)


def _quota_exceeded(body: bytes) -> QuotaExceeded | None:
    """None where it is another refusal, or nothing that this server said."""
    try:
        told: Any = strict_json.loads(body)["error"]
        if told["code"] != QuotaExceeded.code:
            return None
        refusal = QuotaExceeded(
            told["message"],
            layer=told["limit_source"],
            name=told["name"],
            limit=int(told["limit"]),
            used=int(told["used"]),
            retry_at=None if told["retry_at"] is None else datetime.fromisoformat(told["retry_at"]),
        )
    except (InvalidInput, KeyError, TypeError, ValueError):
        return None
    if "feature" in told:
        refusal.details["feature"] = told["feature"]
    return refusal


def _post(url: str, **given: object) -> Question:
    return Question(
        method="POST",
        url=url,
        headers={"content-type": "application/json"},
        content=strict_json.dumps({name: value for name, value in given.items() if value is not None}),
    )
