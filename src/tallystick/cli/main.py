"""The `tallystick` command. Each group of commands stands in a module of its own; this one joins them."""

import inspect
import sys
from typing import Final, NoReturn

import orjson
import typer

from tallystick.base.errors import TallystickError
from tallystick.cli import (
    accounts,
    alerts,
    audit,
    catalog,
    checks,
    credit,
    demo,
    mail,
    members,
    meters,
    orders,
    plans,
    reconcile,
    refunds,
    server,
    stripe,
    subscriptions,
    usage,
    webhooks,
)

_EPILOG: Final = "Settings come from the environment or tallystick.toml; `tallystick settings` lists them."

app = typer.Typer(
    name="tallystick",
    help="Prepaid credits and billing on a double-entry ledger, with an OpenAI-compatible gateway in front.",
    epilog=_EPILOG,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
)
server.register(app)
catalog.register(app)
plans.register(app)
accounts.register(app)
members.register(app)
subscriptions.register(app)
stripe.register(app)
credit.register(app)
orders.register(app)
alerts.register(app)
webhooks.register(app)
mail.register(app)
audit.register(app)
refunds.register(app)
usage.register(app)
meters.register(app)
reconcile.register(app)
checks.register(app)
demo.register(app)


def _unwrap(group: typer.Typer) -> None:
    """Lines of a docstring end where the source does; in a help they end where the terminal does."""
    for command in group.registered_commands:
        source = command.help or (command.callback and command.callback.__doc__) or ""
        paragraphs = inspect.cleandoc(source).split("\n\n")
        command.help = "\n\n".join(" ".join(paragraph.split()) for paragraph in paragraphs)
    for one in group.registered_groups:
        if one.typer_instance is not None:
            _unwrap(one.typer_instance)


_unwrap(app)


def main() -> NoReturn:
    """Run one command. An expected refusal is one sentence on standard error and exit code 1, never a traceback."""
    try:
        app()
    except TallystickError as error:
        if "--json" in sys.argv:
            print(orjson.dumps({"error": {"code": error.code, "message": error.message, **error.details}}).decode())
        print(f"tallystick: {error.message}", file=sys.stderr)
        raise SystemExit(1) from None
    except KeyboardInterrupt:
        raise SystemExit(130) from None
    raise SystemExit(0)
