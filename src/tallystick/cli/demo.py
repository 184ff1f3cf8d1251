"""`demo`: the whole story on this machine, offline - buy credits, call a model, see every nanocredit move."""

import json
import signal
from dataclasses import dataclass
from decimal import Decimal
from typing import Annotated, Any

import httpx
import typer

from tallystick.app.world import World, command, world
from tallystick.base.errors import Misconfigured
from tallystick.cli.output import AsJson, console, show, table

_PURCHASE = 25
_REFUND = 5
_QUESTION = "In one sentence: why did medieval clerks split their tally sticks?"


def register(app: typer.Typer) -> None:
    app.command()(demo)


def demo(
    stay: Annotated[bool, typer.Option("--stay", help="Leave everything running until Ctrl-C.")] = False,
    workers: Annotated[int, typer.Option(help="Processes that answer requests.", min=1, max=64)] = 1,
    port: Annotated[int | None, typer.Option(help="Port of the server; without it a free one.", min=1)] = None,
    as_json: AsJson = False,
) -> None:
    """Start everything offline, buy $25, make paid calls with the official OpenAI SDK, show the ledger, verify."""
    said: list[str] = []

    def progress(line: str) -> None:
        said.append(line)
        if not as_json:
            console.print(f"[dim]- {line}[/dim]")

    with world(workers=workers, port=port, progress=progress) as running:
        customer = Customer.sign_up(running, "ada@example.com")
        story = _tell(running, customer, progress, quiet=as_json)
        show(story, as_json, lambda: None)
        if stay:
            _print_addresses(running, customer)
            _wait_for_interrupt()


@dataclass(frozen=True, slots=True)
class Customer:
    """Somebody who signed up: their session, their organization and their API key."""

    http: httpx.Client
    organization: str
    user: str
    api_key: str

    @classmethod
    def sign_up(cls, running: World, email: str) -> "Customer":
        http = httpx.Client(base_url=running.address, timeout=30)
        account = _answer(
            http.post("/api/auth/sign-up", json={"email": email, "password": "correct horse battery", "name": "Ada"})
        )
        http.headers["authorization"] = f"Bearer {account['session_token']}"
        key = _answer(http.post("/api/keys", json={"name": "demo"}))
        return cls(http, account["organization_id"], account["user_id"], key["key"])

    def balance(self) -> Decimal:
        return Decimal(str(_answer(self.http.get("/api/credits/balance"))["balance"]))


def _tell(running: World, customer: Customer, progress: Any, *, quiet: bool) -> dict[str, object]:
    from openai import APIStatusError, OpenAI  # noqa: PLC0415 - an extra: only the demo needs it

    progress(f"Buying ${_PURCHASE} through Checkout, paid on the offline Stripe's page")
    before_purchase = customer.balance()
    _buy(running, customer)
    bought = customer.balance()
    if bought != before_purchase + _PURCHASE:
        raise Misconfigured(f"Paid ${_PURCHASE}, but the balance went from {before_purchase} to {bought}.")

    openai = OpenAI(base_url=f"{running.address}/v1", api_key=customer.api_key, max_retries=0)
    calls = [
        _call(running, customer, "plain call", lambda: _plain(openai), quiet=quiet),
        _call(running, customer, "streamed call", lambda: _streamed(openai), quiet=quiet),
    ]

    refund = _refund(running, customer, progress, quiet=quiet)

    progress("Deducting all but a millionth of a credit, as a service of yours would, then calling once more")
    rest = customer.balance() - Decimal("0.000001")
    _answer(
        httpx.post(
            f"{running.address}/api/credits/deduct",
            headers={"X-Tallystick-Services-Token": running.services_token, "content-type": "application/json"},
            content=json.dumps({"user_id": customer.user, "amount": "AMOUNT"}).replace('"AMOUNT"', f"{rest:f}"),
        )
    )
    try:
        _plain(openai)
    except APIStatusError as error:
        refusal: dict[str, Any] = error.response.json()["error"]
        if error.status_code != httpx.codes.PAYMENT_REQUIRED:
            raise
    else:
        raise Misconfigured("A call nobody could pay for was let through.")
    if not quiet:
        console.print(f"\n[bold]Refused for lack of credits[/bold]: 402 {refusal['code']}")
        console.print(f"  {refusal['message']}")
        for way in refusal["metadata"]["ways_out"]:
            console.print(f"  way out: {way if isinstance(way, str) else json.dumps(way)}")

    progress("Comparing Stripe with the books")
    reconciliation = command(running.environment, "reconcile", "stripe", *(["--json"] if quiet else []))
    if not quiet:
        console.print(f"\n{reconciliation}", markup=False)
    progress("Verifying the books")
    verification = command(running.environment, "verify", *(["--json"] if quiet else []))
    if not quiet:
        console.print()
        console.print(verification, markup=False)
    return {
        "bought": bought,
        "calls": calls,
        "refund": refund,
        "refused": refusal,
        "reconciled": True,
        "verified": True,
    }


def _refund(running: World, customer: Customer, progress: Any, *, quiet: bool) -> dict[str, Any]:
    """Give a part of the purchase back: Stripe returns the money, the order's own credits pay for it."""
    progress(f"Refunding ${_REFUND} of the purchase")
    before = customer.balance()
    (order,) = json.loads(command(running.environment, "orders", "list", "--json"))
    words = ("refunds", "create", order["id"], "--amount", str(_REFUND), "--reason", "bought too much", "--json")
    refund: dict[str, Any] = json.loads(command(running.environment, *words), parse_float=Decimal)
    httpx.post(f"{running.stripe_address}/_sandbox/webhooks/wait", json={}, timeout=30).raise_for_status()
    after = customer.balance()
    if after != before - _REFUND:
        raise Misconfigured(f"Refunded ${_REFUND}, but the balance went from {before} to {after}.")
    if not quiet:
        console.print(f"\n[bold]A refund[/bold]  {refund['id']}: {refund['state']}")
        console.print(f"  balance   {before} before, {after} after")
    return refund


def _buy(running: World, customer: Customer) -> None:
    order = _answer(customer.http.post("/api/credits/purchase", json={"amount": _PURCHASE}))
    page = httpx.get(order["checkout_url"])
    page.raise_for_status()
    paid = httpx.post(
        order["checkout_url"],
        data={
            "method": "card",
            "number": "4242 4242 4242 4242",
            "expires": "12 / 34",
            "cvc": "123",
            "email": "ada@example.com",
            "name": "Ada",
        },
    )
    if paid.status_code >= httpx.codes.BAD_REQUEST:
        raise Misconfigured(f"The offline Stripe refused the payment: {paid.status_code} {paid.text}")
    # Stripe's webhooks come when they come; here we can ask to wait for them.
    httpx.post(f"{running.stripe_address}/_sandbox/webhooks/wait", json={}, timeout=30).raise_for_status()


def _plain(openai: Any) -> tuple[str, dict[str, Any]]:
    answer = openai.chat.completions.with_raw_response.create(
        model="demo", messages=[{"role": "user", "content": _QUESTION}], max_tokens=200
    )
    parsed = answer.parse()
    return answer.headers["x-request-id"], {
        "text": parsed.choices[0].message.content,
        "usage": parsed.usage.model_dump(),
    }


def _streamed(openai: Any) -> tuple[str, dict[str, Any]]:
    answer = openai.chat.completions.with_raw_response.create(
        model="demo",
        messages=[{"role": "user", "content": _QUESTION}],
        max_tokens=200,
        stream=True,
        stream_options={"include_usage": True},
    )
    text, usage = "", None
    for chunk in answer.parse():
        text += "".join(choice.delta.content or "" for choice in chunk.choices)
        usage = chunk.usage or usage
    return answer.headers["x-request-id"], {"text": text, "usage": usage.model_dump() if usage else None}


def _call(running: World, customer: Customer, name: str, make: Any, *, quiet: bool) -> dict[str, Any]:
    before = customer.balance()
    request_id, answer = make()
    after = customer.balance()
    receipt = _answer(
        httpx.get(
            f"{running.address}/v1/receipts/{request_id}", headers={"authorization": f"Bearer {customer.api_key}"}
        )
    )
    booked = json.loads(command(running.environment, "credits", "request", request_id, "--json"), parse_float=Decimal)
    if Decimal(str(receipt["charge"])) != before - after:
        raise Misconfigured(f"The balance fell by {before - after}, but the receipt says {receipt['charge']}.")
    told = {"name": name, "request_id": request_id, **answer, "receipt": receipt, "booked": booked}
    told |= {"balance_before": before, "balance_after": after}
    if not quiet:
        _print_call(told)
    return told


def _print_call(told: dict[str, Any]) -> None:
    receipt, booked = told["receipt"], told["booked"]
    console.print(f"\n[bold]A {told['name']}[/bold]  {told['request_id']}")
    console.print(f"  asked     {_QUESTION}", markup=False)
    console.print(f"  answered  {told['text']}", markup=False)
    console.print(
        f"  tokens    {receipt['usage']['input_tokens']} in, {receipt['usage']['output_tokens']} out,"
        f" counted by the {receipt['usage_source']}"
    )
    console.print(f"  reserved  {receipt['reserved']} credits before it left")
    console.print(f"  cost      {booked['cost']} to us; charge {receipt['charge']} to the customer")
    console.print(f"  balance   {told['balance_before']} before, {told['balance_after']} after")
    table(
        ["  Transfer", "Kind", "Debit", "Credit", ">Credits"],
        [(f"  {row['seq']}", row["kind"], row["debit"], row["credit"], row["amount"]) for row in booked["transfers"]],
    )


def _print_addresses(running: World, customer: Customer) -> None:
    customer_order = _answer(customer.http.post("/api/credits/purchase", json={"amount": _PURCHASE}))
    console.print("\n[bold]Everything stays up until Ctrl-C.[/bold]")
    table(
        ["What", "Where"],
        [
            ("server", running.address),
            ("OpenAI base URL", f"{running.address}/v1"),
            ("API reference", f"{running.address}/api/docs"),
            ("API key", customer.api_key),
            ("model", "demo"),
            ("session token", customer.http.headers["authorization"].removeprefix("Bearer ")),
            ("service token", running.services_token),
            ("offline Stripe", running.stripe_address),
            ("a payment page to pay $25 on", customer_order["checkout_url"]),
            ("model provider", running.model_address),
            ("data folder", running.environment["TALLYSTICK_DATA_DIR"]),
        ],
    )


def _wait_for_interrupt() -> None:
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        signal.pause()
    except KeyboardInterrupt:
        console.print("Stopping.")


def _answer(response: httpx.Response) -> dict[str, Any]:
    if response.status_code >= httpx.codes.BAD_REQUEST:
        raise Misconfigured(f"{response.request.url} answered {response.status_code}: {response.text}")
    answer: dict[str, Any] = json.loads(response.text, parse_float=Decimal)
    return answer
