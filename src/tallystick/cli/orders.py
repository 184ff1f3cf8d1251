"""`orders`: who bought what, and the ones that are settled by hand."""

from typing import Annotated, Final

import asyncpg
import msgspec
import typer

from tallystick.accounts.organization import resolve_payer
from tallystick.base.errors import InvalidInput
from tallystick.base.money import AMOUNT_MAX_NANO, NANO, format_amount, from_minor, parse_amount
from tallystick.catalog.book import Book
from tallystick.catalog.read import versions
from tallystick.cli.accounts import Org
from tallystick.cli.operator import By, operator
from tallystick.cli.output import AsJson, console, fields, now, show, table, with_books
from tallystick.payments.orders import approve as by_hand
from tallystick.payments.orders.life import KINDS, STATES
from tallystick.payments.orders.order import Buyer, Order, find, orders_of
from tallystick.payments.orders.place_by_hand import place_by_hand
from tallystick.payments.orders.purchase_terms import PurchaseTerms
from tallystick.payments.orders.shown import shown
from tallystick.settings import Settings

OrderId = Annotated[str, typer.Argument(metavar="ORDER", help="The order's id, ord_...")]

_INSIDE: Final = (
    "organization",
    "created_by",
    "stripe_payment_intent",
    "received_minor",
    "received_currency",
    "first_approved_by",
    "approved_by",
    "rejected_by",
    "proof",
)
_CREDITS_MAX: Final = AMOUNT_MAX_NANO // NANO


def register(app: typer.Typer) -> None:
    group = typer.Typer(help="Orders: what was bought, and what is settled by hand.", no_args_is_help=True)
    group.command("list")(list_all)
    group.command("show")(show_one)
    group.command("create")(create)
    group.command("approve")(approve)
    group.command("credit")(credit)
    group.command("reject")(reject)
    app.add_typer(group, name="orders")


def list_all(
    org: Annotated[str | None, typer.Option("--organization", help="Only this organization's, or this user's.")] = None,
    state: Annotated[str | None, typer.Option(help=f"Only those that are {', '.join(STATES)}.")] = None,
    kind: Annotated[str | None, typer.Option(help=f"Only of this kind: {', '.join(KINDS)}.")] = None,
    limit: Annotated[int, typer.Option(help="How many at most.", min=1, max=10_000)] = 50,
    before: Annotated[str | None, typer.Option(help="Only those made before this order.")] = None,
    as_json: AsJson = False,
) -> None:
    """List orders, the newest first. Those that wait for you: `--kind manual --state awaiting_payment`, and
    `--state paid`, whose money came and did not fit."""
    for value, known, name in ((state, STATES, "state"), (kind, KINDS, "kind")):
        if value is not None and value not in known:
            raise InvalidInput(name, f"must be one of {', '.join(known)}")

    async def work(pool: asyncpg.Pool, _settings: Settings) -> list[Order]:
        organization = None
        if org is not None:
            async with pool.acquire() as connection:
                organization, _account = await resolve_payer(connection, org)
        return await orders_of(pool, organization=organization, state=state, kind=kind, before=before, limit=limit)

    found = with_books(work)
    show(
        [_as_dict(order) for order in found],
        as_json,
        lambda: table(
            # An id must stay whole to be copied: who and how much in credits is for `show`.
            ["Order", "State", "Kind", ">Amount", "Reference"],
            [
                (
                    o.id,
                    o.state,
                    o.kind,
                    _money(o.amount_minor, o.currency),
                    None if o.reference == o.id else o.reference,
                )
                for o in found
            ],
        ),
    )


def show_one(order: OrderId, as_json: AsJson = False) -> None:
    """Show all that is known of an order."""

    async def work(pool: asyncpg.Pool, _settings: Settings) -> Order:
        return await find(pool, order, organization=None)

    found = with_books(work)
    show(_as_dict(found), as_json, lambda: fields({k: v for k, v in _as_dict(found).items() if v not in {None, ""}}))


def create(
    org: Org,
    amount: Annotated[str | None, typer.Option(help="Credits to order, such as 2500.")] = None,
    pack: Annotated[str | None, typer.Option(help="A pack to order instead.")] = None,
    coupon: Annotated[str | None, typer.Option(help="A coupon's code.")] = None,
    reference: Annotated[
        str | None, typer.Option(help="What the transfer will name; by default the order's id.")
    ] = None,
    request_id: Annotated[str | None, typer.Option(help="Your own id: the same one never orders twice.")] = None,
    by: By = None,
    as_json: AsJson = False,
) -> None:
    """Order credits for an organization that pays by transfer. Nothing is credited until `orders approve`."""
    nano, who = None if amount is None else parse_amount(amount), operator(by)

    async def work(pool: asyncpg.Pool, _settings: Settings) -> Order:
        async with pool.acquire() as connection:
            organization, account = await resolve_payer(connection, org)
            book = Book(await versions(connection, now()))
        return await place_by_hand(
            pool,
            lambda: book,
            # What customers may order themselves is limited; whoever works here knows what was agreed.
            PurchaseTerms(maximum=_CREDITS_MAX),
            Buyer(organization=organization, account=account, user_id=who),
            amount=nano,
            pack=pack,
            coupon=coupon,
            reference=reference,
            request_id=request_id,
            now=now(),
        )

    made = with_books(work)
    show(
        _as_dict(made),
        as_json,
        lambda: console.print(
            f"{made.id}: to pay {_money(made.amount_minor, made.currency)} with the reference {made.reference}.",
            markup=False,
        ),
    )


def approve(
    order: OrderId,
    proof: Annotated[str, typer.Option(help="What shows that the money came: a statement's line, a receipt's number.")],
    by: By = None,
    as_json: AsJson = False,
) -> None:
    """Say that an order's transfer came, and credit it. With four eyes a second operator does the same."""
    who = operator(by)

    async def work(pool: asyncpg.Pool, settings: Settings) -> Order:
        return await by_hand.approve(pool, order, proof=proof, by=who, four_eyes=settings.four_eyes)

    _show(with_books(work), as_json)


def credit(
    order: OrderId,
    reason: Annotated[str, typer.Option(help="Why it may count although something did not fit.")],
    by: By = None,
    as_json: AsJson = False,
) -> None:
    """Credit an order that is `paid`, by what came: its payment did not fit it, and `orders show` says in what."""
    who = operator(by)

    async def work(pool: asyncpg.Pool, settings: Settings) -> Order:
        return await by_hand.credit_anyway(pool, order, reason=reason, by=who, four_eyes=settings.four_eyes)

    _show(with_books(work), as_json)


def reject(
    order: OrderId,
    reason: Annotated[str, typer.Option(help="Why; its customer reads it.")],
    by: By = None,
    as_json: AsJson = False,
) -> None:
    """Say that an order that is settled by hand is not going to be paid."""
    who = operator(by)

    async def work(pool: asyncpg.Pool, _settings: Settings) -> Order:
        return await by_hand.reject(pool, order, reason=reason, by=who)

    _show(with_books(work), as_json)


def _show(order: Order, as_json: bool) -> None:
    def text() -> None:
        if order.operation is not None:
            said = f"{format_amount(order.credits)} credits were credited, on the word of {order.approved_by}"
        elif order.first_approved_by is not None:
            said = f"approved by {order.first_approved_by}; another operator must approve it, too"
        else:
            said = f"{order.state}: {order.reason}"
        console.print(f"{order.id}: {said}.", markup=False)

    show(_as_dict(order), as_json, text)


def _as_dict(order: Order) -> dict[str, object]:
    """As its customer sees it, and what only operators do."""
    known = msgspec.structs.asdict(order)
    return {**shown(order, None), **{name: known[name] for name in _INSIDE}}


def _money(minor: int, currency: str) -> str:
    return f"{format_amount(from_minor(minor))} {currency.upper()}"
