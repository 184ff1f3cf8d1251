"""`apply`, `prices`, `credentials`: what is sold, for how much, and how providers are paid."""

import sys
from decimal import Decimal, InvalidOperation
from pathlib import Path
from typing import Annotated

import asyncpg
import typer

from tallystick.accounts import credential
from tallystick.app.credentials import OPERATOR, sealer
from tallystick.base.errors import InvalidInput
from tallystick.catalog.difference import Difference
from tallystick.catalog.list_prices import PriceLine, list_prices
from tallystick.catalog.margin import Margin
from tallystick.catalog.price import KINDS, Kind
from tallystick.catalog.publish import apply as publish_file
from tallystick.catalog.rates import show_rate
from tallystick.catalog.set_price import set_price
from tallystick.cli.operator import By, operator
from tallystick.cli.output import AsJson, console, now, show, table, with_books
from tallystick.settings import Settings

DryRun = Annotated[bool, typer.Option("--dry-run", help="Show the difference and change nothing.")]


def register(app: typer.Typer) -> None:
    app.command()(apply)
    prices = typer.Typer(help="Costs and prices of models.", no_args_is_help=True)
    prices.command("import")(import_costs)
    prices.command("list")(list_all)
    prices.command("set")(set_one)
    app.add_typer(prices, name="prices")
    credentials = typer.Typer(help="Provider secrets, sealed in the database.", no_args_is_help=True)
    credentials.command("set")(set_credential)
    app.add_typer(credentials, name="credentials")


def apply(
    file: Annotated[Path, typer.Argument(help="The catalog file (TOML).", exists=True, dir_okay=False)],
    dry_run: DryRun = False,
    by: By = None,
    as_json: AsJson = False,
) -> None:
    """Publish a catalog file: providers, costs, prices, routes, packs, plans. Applying it twice changes nothing."""
    text, who = file.read_text(), operator(by)

    async def work(pool: asyncpg.Pool, _settings: Settings) -> Difference:
        async with pool.acquire() as connection:
            return await publish_file(connection, text, now=now(), dry_run=dry_run, by=who)

    _show_difference(with_books(work), dry_run, as_json)


def import_costs(
    provider: Annotated[str | None, typer.Option(help="One provider; without it every published one.")] = None,
    model: Annotated[list[str] | None, typer.Option(help="One model; may be given again.")] = None,
    dry_run: DryRun = False,
    by: By = None,
    as_json: AsJson = False,
) -> None:
    """Import what providers charge us from the offline price list of genai-prices."""
    who = operator(by)
    # The list alone takes longer to load than most commands take to run.
    from tallystick.catalog.import_prices import Import, import_prices  # noqa: PLC0415

    async def work(pool: asyncpg.Pool, _settings: Settings) -> Import:
        async with pool.acquire() as connection:
            return await import_prices(
                connection, now=now(), provider=provider, models=model or (), dry_run=dry_run, by=who
            )

    done = with_books(work)
    if not as_json:
        for note in done.notes:
            console.print(f"note: {note}", style="dim", markup=False)
        for name in done.kept:
            console.print(f"kept: {name}, whose cost stands in the catalog file", style="dim", markup=False)
    _show_difference(done.difference, dry_run, as_json, notes=done.notes, kept=done.kept, unchanged=len(done.unchanged))


def list_all(as_json: AsJson = False) -> None:
    """List cost, price and margin of every model that has a cost, sold or not."""

    async def work(pool: asyncpg.Pool, _settings: Settings) -> list[PriceLine]:
        async with pool.acquire() as connection:
            return await list_prices(connection, now())

    found = with_books(work)
    show(
        [_listed(line) for line in found],
        as_json,
        lambda: table(
            ["Model", "Sold", "For", ">Cost", ">Price", ">Margin"], [row for line in found for row in _price_rows(line)]
        ),
    )


def set_one(
    provider: Annotated[str, typer.Argument(help="A provider's name, or * for every one.")],
    model: Annotated[str, typer.Argument(help="A model's name, or * for every one.")],
    markup: Annotated[str | None, typer.Option(help="Charge the cost times this, such as 1.25.")] = None,
    input_price: Annotated[str | None, typer.Option("--input", help="Credits per million input tokens.")] = None,
    output_price: Annotated[str | None, typer.Option("--output", help="Credits per million output tokens.")] = None,
    cached_input: Annotated[str | None, typer.Option(help="Credits per million cached input tokens.")] = None,
    request: Annotated[str | None, typer.Option(help="Credits per request.")] = None,
    image: Annotated[str | None, typer.Option(help="Credits per image.")] = None,
    allow_loss: Annotated[bool, typer.Option(help="Sell below cost on purpose.")] = False,
    dry_run: DryRun = False,
    by: By = None,
    as_json: AsJson = False,
) -> None:
    """Set the price of a model from now on: a markup on its cost, or rates of its own."""
    rates: dict[Kind, str | None] = {
        "input": input_price,
        "output": output_price,
        "cached_input": cached_input,
        "request": request,
        "image": image,
    }
    given = {kind: _decimal(kind, text) for kind, text in rates.items() if text is not None}
    factor, who = None if markup is None else _decimal("markup", markup), operator(by)

    async def work(pool: asyncpg.Pool, _settings: Settings) -> Difference:
        async with pool.acquire() as connection:
            return await set_price(
                connection,
                provider=provider,
                model=model,
                markup=factor,
                rates=given or None,
                allow_loss=allow_loss,
                now=now(),
                dry_run=dry_run,
                by=who,
            )

    _show_difference(with_books(work), dry_run, as_json)


def set_credential(
    name: Annotated[str, typer.Argument(help="The name that a catalog's `credential = { sealed = NAME }` uses.")],
    by: By = None,
    as_json: AsJson = False,
) -> None:
    """Seal a provider's secret, read from standard input, never from the command line."""
    who = operator(by)
    secret = typer.prompt("Secret", hide_input=True) if sys.stdin.isatty() else sys.stdin.readline().strip()

    async def work(pool: asyncpg.Pool, settings: Settings) -> None:
        async with pool.acquire() as connection, connection.transaction():
            await credential.put(connection, sealer(settings), owner=OPERATOR, name=name, secret=secret, by=who)
            # Running gateways read their catalog again, and the secret with it.
            await connection.execute("select announce('catalog', '')")

    with_books(work)
    show({"name": name}, as_json, lambda: console.print(f"Sealed as {name}."))


def _price_rows(line: PriceLine) -> list[tuple[str, ...]]:
    cells: list[tuple[str, str, str, str]]
    first = (f"{line.provider}/{line.model}", "yes" if line.is_sold else "no")
    if not line.margins:
        costs = [(kind, getattr(line.cost, kind)) for kind in KINDS if getattr(line.cost, kind)]
        cells = [(kind, show_rate(cost, kind), "", "") for kind, cost in costs]
    else:
        cells = [(_what(m), show_rate(m.cost, m.kind), _price(m), _share(m)) for m in _told_apart(line)]
    return [(*(first if number == 0 else ("", "")), *cell) for number, cell in enumerate(cells)]


def _listed(line: PriceLine) -> dict[str, object]:
    return {
        "provider": line.provider,
        "model": line.model,
        "sold": line.is_sold,
        "cost_id": line.cost_id,
        "price_id": line.price_id,
        "kinds": [
            {
                "kind": m.kind,
                "above_input_tokens": m.above_input_tokens,
                "cost": show_rate(m.cost, m.kind),
                "price": _price(m),
                "margin": _share(m),
            }
            for m in _told_apart(line)
        ],
    }


def _told_apart(line: PriceLine) -> list[Margin]:
    """Without the kinds that neither the cost nor the price names: those follow their parent's."""
    rates = [line.cost, *line.cost.tiers, *([line.price, *line.price.tiers] if line.price else [])]
    return [m for m in line.margins if any(getattr(given, m.kind, None) is not None for given in rates)]


def _what(margin: Margin) -> str:
    return f"{margin.kind} above {margin.above_input_tokens} tokens" if margin.above_input_tokens else margin.kind


def _price(margin: Margin) -> str:
    # For reading only, rounded up as a charge would be; the exact fraction decides.
    return show_rate(-(-margin.price.numerator // margin.price.denominator), margin.kind)


def _share(margin: Margin) -> str:
    if margin.share is None:
        return ""
    return f"{Decimal(margin.share.numerator * 100) / margin.share.denominator:.1f}%"


def _show_difference(found: Difference, dry_run: bool, as_json: bool, **more: object) -> None:
    def text() -> None:
        for line in found.lines():
            colour = {"+": "green", "-": "red"}.get(line[0], "yellow")
            console.print(f"[{colour}]{line[0]}[/{colour}]", end="")
            console.print(line[1:], markup=False)
        for warning in found.warnings:
            console.print(f"warning: {warning}", style="yellow", markup=False)
        if not found:
            console.print("Nothing changes.")
        elif dry_run:
            console.print(f"{len(found.changes)} changes; nothing was published (--dry-run).")
        else:
            console.print(f"{len(found.changes)} changes published.")

    changes = {"changes": found.lines(), "warnings": found.warnings, "published": bool(found) and not dry_run}
    show({**changes, **more}, as_json, text)


def _decimal(field: str, text: str) -> Decimal:
    try:
        return Decimal(text)
    except InvalidOperation:
        raise InvalidInput(field, "must be a decimal number") from None
