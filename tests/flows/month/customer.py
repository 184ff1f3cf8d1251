"""One organization: what it has yet to do, what is known of what it did, and how it speaks to our server."""

from collections import Counter, deque
from dataclasses import dataclass, field
from typing import Any

import httpx

from tallystick.accounts import user
from tests.flows.month.act import Act
from tests.flows.month.plan import Life
from tests.flows.month.stage import SERVICE, Stage


class Later(Exception):
    """It cannot be done now, and may be done soon."""


class Expired(Exception):
    """What it was about has ended meanwhile."""


@dataclass
class Customer:
    """Amounts in nanocredits. Of orders, `by_hand` says what each that was approved is of, and `handed_back` how many
    cents of it went back."""

    life: Life
    user: str
    organization: str
    account: int
    token: str
    left: deque[Act]
    orders: dict[str, str] = field(default_factory=dict)
    paid: dict[str, dict[str, str]] = field(default_factory=dict)
    subscriptions: dict[str, str] = field(default_factory=dict)
    refunds: dict[str, str] = field(default_factory=dict)
    disputes: dict[str, str] = field(default_factory=dict)
    amounts: dict[str, int] = field(default_factory=dict)
    tries: Counter[str] = field(default_factory=Counter)
    by_hand: dict[str, dict[str, Any]] = field(default_factory=dict)
    handed_back: Counter[str] = field(default_factory=Counter)
    granted: int = 0
    spent: int = 0
    used: int = 0
    got_few: int = 0
    late: bool = False
    waits_for: str = ""

    @property
    def auth(self) -> dict[str, str]:
        return {"authorization": f"Bearer {self.token}"}

    def name(self, act: Act) -> str:
        return f"{self.life.number} {act.name} {act.what}"


async def sign_up(stage: Stage, life: Life) -> Customer:
    welcome = await user.sign_up(stage.pool, email=f"owner{life.number}@example.com", password="correct horse")
    account = await stage.pool.fetchval("select account from organization where id = $1", welcome.organization_id)
    return Customer(life, welcome.user_id, welcome.organization_id, account, welcome.session.token, deque(life.acts))


async def post(stage: Stage, customer: Customer, path: str, body: Any, key: str = "", method: str = "POST") -> Any:
    """What our server answers. Raises Later, Expired, and AssertionError for what it should not say."""
    headers = customer.auth | ({"idempotency-key": key} if key else {})
    answer = await stage.http.request(method, path, json=body, headers=headers)
    return read(answer, f"{customer.organization} {method} {path} {body}")


async def refused(stage: Stage, customer: Customer, path: str, body: Any, key: str, *, code: str) -> None:
    """Raises Later where it could not be asked, and AssertionError where it is not refused."""
    answer = await stage.http.post(path, json=body, headers=customer.auth | {"idempotency-key": key})
    if answer.is_success or code_of(answer) != code:
        raise AssertionError(f"{path} {body} ended with {read(answer, path)} instead of {code}")


async def deduct(stage: Stage, customer: Customer, nano: int, request_id: str) -> None:
    body = {"user_id": customer.user, "amount": nano / 10**9, "request_id": request_id}
    answer = await stage.http.post("/api/credits/deduct", json=body, headers={"x-tallystick-services-token": SERVICE})
    read(answer, f"{customer.organization} deducts {body}")
    customer.spent += nano


def code_of(answer: httpx.Response) -> str:
    return str(answer.json()["error"]["code"] if "error" in answer.text else answer.text)


def read(answer: httpx.Response, asked: str) -> Any:
    if answer.is_success:
        return answer.json()
    code = code_of(answer)
    if answer.status_code in {402, 502, 503} or code in {"customer_not_ready", "no_saved_card"}:
        raise Later(f"{asked}: {answer.status_code} {code}")
    if "can no longer be paid" in answer.text:
        raise Expired(asked)
    raise AssertionError(f"{asked}: {answer.status_code} {answer.text}")
