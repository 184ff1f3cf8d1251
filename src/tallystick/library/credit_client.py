"""Credits over HTTP: the credit service's methods, answers and errors, from another process. Sync and async.

With a service token every method works for every user. With a session token one can read and buy for the person who is
signed in, and `user_id` may be left out. What fails on the way is sent again with the same ids: it is done once.
"""

import asyncio
import time
from collections.abc import Mapping, Sequence
from types import TracebackType
from typing import Self

import httpx
import msgspec

from tallystick.library import remote
from tallystick.library.answers import (
    Amount,
    BalanceResponse,
    BatchResponse,
    Deduction,
    DeductResponse,
    HistoryResponse,
    PurchaseResponse,
    RedeemResponse,
)
from tallystick.library.remote import Question


class CreditClient:
    """`with CreditClient(url, service_token=...) as credits: credits.deduct("user_...", Decimal("0.05"))`"""

    def __init__(
        self,
        base_url: str,
        *,
        session_token: str | None = None,
        service_token: str | None = None,
        timeout_s: float = 30.0,
    ) -> None:
        self._http = httpx.Client(
            base_url=remote.address(base_url), headers=remote.headers(session_token, service_token), timeout=timeout_s
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        self._http.close()

    def get_balance(self, user_id: str | None = None) -> BalanceResponse:
        """What the user's organization has, and when it last bought and last spent. Raises NotFound."""
        return remote.answer(self._ask(remote.balance(user_id)), BalanceResponse)

    def history(
        self, user_id: str | None = None, *, limit: int = 50, cursor: str | None = None, only: str | None = None
    ) -> HistoryResponse:
        """What came in and went out, newest first; of one type where `only` names it."""
        return remote.answer(self._ask(remote.history(user_id, limit, cursor, only)), HistoryResponse)

    def purchase(
        self,
        user_id: str | None = None,
        amount: Amount | None = None,
        *,
        pack: str | None = None,
        idempotency_key: str | None = None,
        coupon: str | None = None,
        save_card: bool = False,
    ) -> PurchaseResponse:
        """Start the purchase of an amount or of a pack; the same `idempotency_key` gives the same session."""
        asked = remote.purchase(user_id, amount, pack, idempotency_key, coupon, save_card)
        return remote.answer(self._ask(asked), PurchaseResponse)

    def redeem(self, user_id: str | None = None, *, code: str, idempotency_key: str | None = None) -> RedeemResponse:
        """Take the free credits of a coupon; the same `idempotency_key` takes them once."""
        return remote.answer(self._ask(remote.redeem(user_id, code, idempotency_key)), RedeemResponse)

    def deduct(self, user_id: str, amount: Amount, request_id: str | None = None) -> DeductResponse:
        """Charge for usage. The same `request_id` is charged once, however often it is sent.

        Raises InsufficientCreditsError, NotFound, InvalidInput, and Conflict for the same id with another amount."""
        return remote.answer(self._ask(remote.deduct(user_id, amount, request_id)), DeductResponse)

    def deduct_batch(self, deductions: Sequence[Deduction | Mapping[str, object]]) -> BatchResponse:
        """Charge many at once. Each stands alone: one that fails is told of in its place, and the others are made."""
        return remote.batch_answer(self._ask(remote.deduct_batch(deductions)))

    def _ask(self, question: Question) -> bytes:
        attempt = 0
        while True:
            try:
                outcome = remote.judge(self._http.request(**msgspec.structs.asdict(question)))
            except httpx.TransportError as problem:
                outcome = remote.unreachable(problem)
            if isinstance(outcome, bytes):
                return outcome
            attempt += 1
            pause_s = remote.pause_s(outcome, attempt)
            if pause_s is None:
                raise outcome
            time.sleep(pause_s)


class AsyncCreditClient:
    """The same for asyncio: `async with AsyncCreditClient(url, service_token=...) as credits`."""

    def __init__(
        self,
        base_url: str,
        *,
        session_token: str | None = None,
        service_token: str | None = None,
        timeout_s: float = 30.0,
    ) -> None:
        self._http = httpx.AsyncClient(
            base_url=remote.address(base_url), headers=remote.headers(session_token, service_token), timeout=timeout_s
        )

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    async def close(self) -> None:
        await self._http.aclose()

    async def get_balance(self, user_id: str | None = None) -> BalanceResponse:
        """What the user's organization has, and when it last bought and last spent. Raises NotFound."""
        return remote.answer(await self._ask(remote.balance(user_id)), BalanceResponse)

    async def history(
        self, user_id: str | None = None, *, limit: int = 50, cursor: str | None = None, only: str | None = None
    ) -> HistoryResponse:
        """What came in and went out, newest first; of one type where `only` names it."""
        return remote.answer(await self._ask(remote.history(user_id, limit, cursor, only)), HistoryResponse)

    async def purchase(
        self,
        user_id: str | None = None,
        amount: Amount | None = None,
        *,
        pack: str | None = None,
        idempotency_key: str | None = None,
        coupon: str | None = None,
        save_card: bool = False,
    ) -> PurchaseResponse:
        """Start the purchase of an amount or of a pack; the same `idempotency_key` gives the same session."""
        asked = remote.purchase(user_id, amount, pack, idempotency_key, coupon, save_card)
        return remote.answer(await self._ask(asked), PurchaseResponse)

    async def redeem(
        self, user_id: str | None = None, *, code: str, idempotency_key: str | None = None
    ) -> RedeemResponse:
        """Take the free credits of a coupon; the same `idempotency_key` takes them once."""
        return remote.answer(await self._ask(remote.redeem(user_id, code, idempotency_key)), RedeemResponse)

    async def deduct(self, user_id: str, amount: Amount, request_id: str | None = None) -> DeductResponse:
        """Charge for usage. The same `request_id` is charged once, however often it is sent.

        Raises InsufficientCreditsError, NotFound, InvalidInput, and Conflict for the same id with another amount."""
        return remote.answer(await self._ask(remote.deduct(user_id, amount, request_id)), DeductResponse)

    async def deduct_batch(self, deductions: Sequence[Deduction | Mapping[str, object]]) -> BatchResponse:
        """Charge many at once. Each stands alone: one that fails is told of in its place, and the others are made."""
        return remote.batch_answer(await self._ask(remote.deduct_batch(deductions)))

    async def _ask(self, question: Question) -> bytes:
        attempt = 0
        while True:
            try:
                outcome = remote.judge(await self._http.request(**msgspec.structs.asdict(question)))
            except httpx.TransportError as problem:
                outcome = remote.unreachable(problem)
            if isinstance(outcome, bytes):
                return outcome
            attempt += 1
            pause_s = remote.pause_s(outcome, attempt)
            if pause_s is None:
                raise outcome
            await asyncio.sleep(pause_s)
