"""`refunds`, `disputes` and `debts`: what goes back of payments, and what customers owe for it."""

from collections.abc import Awaitable, Callable
from typing import Annotated, TypeVar
from uuid import UUID

import asyncpg
import msgspec
import typer

from tallystick.base.errors import InvalidInput, Misconfigured
from tallystick.base.money import format_amount, parse_amount, to_decimal, to_minor
from tallystick.cli.for_organization import named
from tallystick.cli.operator import By, operator
from tallystick.cli.output import AsJson, console, fields, show, table, with_books
from tallystick.payments.debts.debt import Debt, debts
from tallystick.payments.debts.write_off import write_off as write_off_in_books
from tallystick.payments.refunds import answer
from tallystick.payments.refunds import dispute as disputes_known
from tallystick.payments.refunds import refund as refunds_known
from tallystick.payments.refunds.create import create as create_in_books
from tallystick.payments.refunds.dispute import Dispute
from tallystick.payments.refunds.plan_money import release as release_in_books
from tallystick.payments.refunds.refund import Refund
from tallystick.payments.stripe.client import StripeClient
from tallystick.settings import Settings

Result = TypeVar("Result")

Organization = Annotated[str | None, typer.Option("--organization", help="Only this organization's, or this user's.")]
OrderId = Annotated[str | None, typer.Option("--order", help="Only of this order.")]
Limit = Annotated[int, typer.Option(help="How many at most.", min=1, max=10_000)]
DisputeId = Annotated[str, typer.Argument(metavar="DISPUTE", help="Stripe's id, du_...")]


def register(app: typer.Typer) -> None:
    refunds = typer.Typer(help="Refunds: give back what was paid for an order.", no_args_is_help=True)
    refunds.command("create")(create)
    refunds.command("list")(list_refunds)
    refunds.command("show")(show_refund)
    app.add_typer(refunds, name="refunds")
    disputes = typer.Typer(help="Disputes: customers who went to their bank.", no_args_is_help=True)
    disputes.command("list")(list_disputes)
    disputes.command("show")(show_dispute)
    disputes.command("submit-evidence")(submit_evidence)
    disputes.command("close")(close)
    disputes.command("release")(release)
    app.add_typer(disputes, name="disputes")
    owed = typer.Typer(help="Debts: credits that were spent before their payment went back.", no_args_is_help=True)
    owed.command("list")(list_debts)
    owed.command("write-off")(write_off)
    app.add_typer(owed, name="debts")


def create(
    order: Annotated[str, typer.Argument(metavar="ORDER", help="The order's id, ord_...")],
    reason: Annotated[str, typer.Option(help="Why; kept with the refund and in the audit log.")],
    amount: Annotated[
        str | None, typer.Option(help="Money to give back, such as 12.50; without it all that is unspent.")
    ] = None,
    beyond_unspent: Annotated[
        bool, typer.Option("--beyond-unspent", help="Also what was spent: the customer owes those credits then.")
    ] = False,
    proof: Annotated[
        str | None, typer.Option(help="Of an order settled by hand: how the money went back, such as a bank's id.")
    ] = None,
    request_id: Annotated[str | None, typer.Option(help="Your own id: the same one never gives back twice.")] = None,
    by: By = None,
    as_json: AsJson = False,
) -> None:
    """Give back what was paid for an order: its credits are taken back at once, then Stripe is asked.

    Without an answer from Stripe the refund stays `asked`, and the server asks again until there is one, never for a
    second refund."""
    minor = None if amount is None else to_minor(parse_amount(amount))

    async def work(pool: asyncpg.Pool, settings: Settings) -> Refund:
        stripe = _client(settings)
        try:
            return await create_in_books(
                pool,
                stripe,
                order,
                amount_minor=minor,
                beyond_unspent=beyond_unspent,
                reason=reason,
                by=operator(by),
                proof=proof,
                request_id=request_id,
            )
        finally:
            if stripe is not None:
                await stripe.close()

    made = with_books(work)
    show(_as_dict(made), as_json, lambda: fields(_in_text(made)))


def list_refunds(org: Organization = None, order: OrderId = None, limit: Limit = 50, as_json: AsJson = False) -> None:
    """List refunds, the newest first. Those that are `asked` wait for Stripe's answer."""

    async def work(pool: asyncpg.Pool, _settings: Settings) -> list[Refund]:
        async with pool.acquire() as connection:
            organization = await named(connection, org)
            return await refunds_known.list_refunds(connection, organization=organization, order_id=order, limit=limit)

    found = with_books(work)
    rows = [
        (r.id, r.payment_order or r.stripe_invoice, r.state, _money(r.amount_minor), r.asked_by, r.reason or r.failure)
        for r in found
    ]
    show(
        [_as_dict(refund) for refund in found],
        as_json,
        lambda: table(["Refund", "Of", "State", ">Amount", "By", "Why"], rows),
    )


def show_refund(
    refund: Annotated[str, typer.Argument(metavar="REFUND", help="Our id or Stripe's.")], as_json: AsJson = False
) -> None:
    """Show one refund."""

    async def work(pool: asyncpg.Pool, _settings: Settings) -> Refund:
        return await refunds_known.find(pool, refund)

    found = with_books(work)
    show(_as_dict(found), as_json, lambda: fields(_in_text(found)))


def list_disputes(org: Organization = None, order: OrderId = None, limit: Limit = 50, as_json: AsJson = False) -> None:
    """List disputes, the newest first. Those that need a response have a day until which it must be there."""

    async def work(pool: asyncpg.Pool, _settings: Settings) -> list[Dispute]:
        async with pool.acquire() as connection:
            organization = await named(connection, org)
            return await disputes_known.list_disputes(
                connection, organization=organization, order_id=order, limit=limit
            )

    found = with_books(work)
    rows = [
        (d.id, d.payment_order or d.stripe_invoice, d.status, _money(d.amount_minor), d.reason, _day(d.respond_by))
        for d in found
    ]
    show(
        [_as_dict(dispute) for dispute in found],
        as_json,
        lambda: table(["Dispute", "Of", "Status", ">Amount", "Reason", "Respond by (UTC)"], rows),
    )


def show_dispute(dispute: DisputeId, as_json: AsJson = False) -> None:
    """Show one dispute."""

    async def work(pool: asyncpg.Pool, _settings: Settings) -> Dispute:
        return await disputes_known.find(pool, dispute)

    found = with_books(work)
    show(_as_dict(found), as_json, lambda: fields(_in_text(found)))


def submit_evidence(
    dispute: DisputeId,
    text: Annotated[str, typer.Argument(help="What speaks for us. Stripe takes evidence once.")],
    by: By = None,
    as_json: AsJson = False,
) -> None:
    """Answer a dispute. What the bank decides comes later, by itself."""
    found = _with_stripe(lambda pool, stripe: answer.submit(pool, stripe, dispute, text, by=operator(by)))
    show(_as_dict(found), as_json, lambda: console.print(f"Handed in. The dispute is {found.status} now."))


def close(dispute: DisputeId, by: By = None, as_json: AsJson = False) -> None:
    """Give up a dispute: it is lost then, for good."""
    found = _with_stripe(lambda pool, stripe: answer.close(pool, stripe, dispute, by=operator(by)))
    show(_as_dict(found), as_json, lambda: console.print(f"Given up. The dispute is {found.status} now."))


def release(
    dispute: DisputeId,
    reason: Annotated[str, typer.Option(help="Why it holds nobody back any more; kept in the audit log.")],
    by: By = None,
    as_json: AsJson = False,
) -> None:
    """Let a customer go on whom a dispute about a plan's payment holds back, although the bank has the money."""

    async def work(pool: asyncpg.Pool, _settings: Settings) -> Dispute:
        async with pool.acquire() as connection:
            return await release_in_books(connection, dispute, reason=reason, by=operator(by))

    found = with_books(work)
    show(_as_dict(found), as_json, lambda: console.print(f"Released: {found.id} holds nobody back now."))


def list_debts(
    org: Organization = None,
    everything: Annotated[bool, typer.Option("--all", help="Also those that are paid or over.")] = False,
    limit: Limit = 50,
    as_json: AsJson = False,
) -> None:
    """List what customers owe, the newest first. It is taken from whatever credits they get next."""

    async def work(pool: asyncpg.Pool, _settings: Settings) -> list[Debt]:
        async with pool.acquire() as connection:
            organization = await named(connection, org)
            return [*await debts(connection, organization=organization, only_open=not everything, limit=limit)]

    found = with_books(work)
    rows = [
        (d.operation, d.organization, format_amount(d.amount), format_amount(d.open), d.policy, _day(d.began_at))
        for d in found
    ]
    show(
        [_debt(debt) for debt in found],
        as_json,
        lambda: table(["Debt", "Organization", ">Credits", ">Open", "Policy", "Since (UTC)"], rows),
    )


def write_off(
    debt: Annotated[str, typer.Argument(metavar="DEBT", help="Its id, as `debts list` shows it.")],
    reason: Annotated[str, typer.Option(help="Why it is given up; kept in the audit log.")],
    by: By = None,
    as_json: AsJson = False,
) -> None:
    """Give up what is open of a debt. The customer owes it no more, and is not held back for it."""
    try:
        operation = UUID(debt)
    except ValueError:
        raise InvalidInput("debt", "must be an id as `tallystick debts list` shows it") from None

    async def work(pool: asyncpg.Pool, _settings: Settings) -> Debt:
        async with pool.acquire() as connection:
            return await write_off_in_books(connection, operation, reason=reason, by=operator(by))

    found = with_books(work)
    show(_debt(found), as_json, lambda: console.print(f"Written off: {found.organization} owes nothing of it now."))


def _with_stripe(work: Callable[[asyncpg.Pool, StripeClient], Awaitable[Result]]) -> Result:
    async def run(pool: asyncpg.Pool, settings: Settings) -> Result:
        stripe = _client(settings)
        if stripe is None:
            raise Misconfigured("Disputes are answered at Stripe: set STRIPE_API_KEY.")
        try:
            return await work(pool, stripe)
        finally:
            await stripe.close()

    return with_books(run)


def _client(settings: Settings) -> StripeClient | None:
    key = settings.stripe_api_key
    return StripeClient(key, api_base=settings.stripe_api_base) if key else None


def _as_dict(found: Refund | Dispute) -> dict[str, object]:
    return msgspec.structs.asdict(found)


def _in_text(found: Refund | Dispute) -> dict[str, object]:
    """For people, who do not count in cents."""
    told = _as_dict(found).items()
    return {"amount" if name == "amount_minor" else name: value for name, value in told} | {
        "amount": _money(found.amount_minor)
    }


def _debt(debt: Debt) -> dict[str, object]:
    shown = msgspec.structs.asdict(debt)
    return {**shown, "amount": to_decimal(debt.amount), "open": to_decimal(debt.open)}


def _money(minor: int) -> str:
    return f"{minor // 100}.{minor % 100:02d}"


def _day(at: object) -> str:
    return "" if at is None else f"{at:%Y-%m-%d %H:%M}"
