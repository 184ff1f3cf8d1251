"""Write the reference pages that come from the code: `python scripts/reference.py`. A test keeps them equal to it."""

import textwrap
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any, Final, cast

from typer.main import get_command

from tallystick.api.app import create_api
from tallystick.api.dependencies import ApiDependencies
from tallystick.cli.main import app
from tallystick.gateway.outcome import DEFAULT, Basis
from tallystick.settings import Settings, sentences, variable

_BASES: Final = {Basis.NOTHING: "nothing", Basis.USAGE: "the usage"}
_GATEWAY_HTTP: Final = """\
## Gateway

Key: `Authorization: Bearer tsk_...` or `x-api-key: tsk_...`. Errors come in OpenAI's shape, `{"error": {"message",
"type", "param", "code", "metadata"}}`.

| request | what it does |
|---|---|
| `POST /v1/chat/completions` | A call, plain or streamed, as OpenAI's |
| `GET /v1/models`, `GET /v1/models/{id}` | What is for sale: OpenAI's list with prices and context length |
| `GET /v1/credits` | Balance, held and available credits |
| `GET /v1/key` | The key that asks |
| `GET /v1/receipts/{request_id}` | What a call used and was charged, by which rule, and why |

| answer header | what it holds |
|---|---|
| `x-request-id` | the call's id: also its hold's, its receipt's and its usage record's |
| `x-tallystick-cost` | credits charged; in a stream the usage chunk has `usage.cost` instead |
| `x-tallystick-balance` | the balance afterwards |
| `x-tallystick-layer` | who pays: `included` in the plan, `promotional` or `purchased` credits, `overage` (owed); \
`credits` where no plan counts anything |
| `x-tallystick-provider`, `x-tallystick-model`, `x-tallystick-attempts` | who answered, after how many attempts |
| `x-ratelimit-limit-requests`, `-remaining-requests`, `-reset-requests`; the same for `-tokens` | where the plan has \
rates: what a minute allows, what is left of it, when it is over |
| `retry-after` | with 429 and 503: seconds |
| `x-should-retry` | `false` with a 429 that a minute does not change; OpenAI's clients then do not try again |

| status | when |
|---|---|
| 401 | no, unknown, revoked or expired key: one answer for all |
| 402 `insufficient_credits` | the balance cannot hold the call; `metadata` has both ways out |
| 403 | `access_denied`: the plan, or where its subscription stands, does not allow this; `organization_suspended`; \
a model without a price (`model_not_priced`) |
| 404 | unknown model, receipt or path |
| 408, 413, 415 | a body too slow, too large, or compressed |
| 422 | a field that cannot be bounded or understood |
| 429 | `quota_exceeded`: a limit of the plan is used up; `rate_limit_exceeded`: too fast. \
[Live with limits](../how-to/limits.md) |
| 502, 504 | the provider failed or was too slow before any content; nothing was charged |
| 503 | the ledger cannot take the call now; `Retry-After` |

The operations endpoints `/healthz`, `/readyz` and `/metrics` need no key: keep them inside.
"""

FOLDER: Final = Path(__file__).parents[1] / "docs" / "reference"


def settings_page() -> str:
    """docs/reference/settings.md."""
    defaults = Settings()
    rows = [
        f"| `{variable(name)}` | {_shown(getattr(defaults, name))} | {sentence} |"
        for name, sentence in sentences().items()
    ]
    return "\n".join(
        [
            "# Settings",
            "",
            "Each one comes from the environment, or from `tallystick.toml` in the current folder under its name in",
            "lower case and without `TALLYSTICK_`. The environment wins. `tallystick settings` lists them with their",
            "values.",
            "",
            "| variable | default | what it does |",
            "|---|---|---|",
            *rows,
            "",
        ]
    )


def commands_page() -> str:
    """docs/reference/commands.md."""
    root = get_command(app)
    lines = ["# Commands", "", "`tallystick --help` says the same on a terminal. Every command takes `--json`.", ""]
    for words, command in _leaves(root, ["tallystick"]):
        paragraphs = (textwrap.fill(paragraph, 120) for paragraph in (command.help or "").split("\n\n"))
        lines += [f"## `{' '.join(words)}`", "", "\n\n".join(paragraphs), ""]
        arguments, options = [], []
        for parameter in command.params:
            text = getattr(parameter, "help", None) or ""
            if parameter.param_type_name == "argument":
                arguments.append(f"| `{parameter.name.upper()}` | {text} |")
            elif "--help" not in parameter.opts:
                names = ", ".join(f"`{name}`" for name in [*parameter.opts, *parameter.secondary_opts])
                options.append(f"| {names} | {text} |")
        if arguments or options:
            lines += ["| argument or option | what it is |", "|---|---|", *arguments, *options, ""]
    return "\n".join(lines)


def outcomes_page() -> str:
    """docs/reference/outcomes.md."""
    rows = [f"| `{outcome}` | {_BASES[rule.basis]} | {rule.why} |" for outcome, rule in DEFAULT.items()]
    return "\n".join(
        [
            "# Outcomes",
            "",
            "How a call can end, and what is charged then. Its receipt (`GET /v1/receipts/{request_id}`) names the",
            "outcome and why it was charged so.",
            "",
            "| outcome | charged | why |",
            "|---|---|---|",
            *rows,
            "",
        ]
    )


def http_page() -> str:
    """docs/reference/http.md."""
    dependencies = SimpleNamespace(body_max_bytes=1, body_timeout_s=1.0)
    document = create_api(cast("ApiDependencies", dependencies)).openapi()
    rows = [
        f"| `{method.upper()} {path}` | {_first_sentence(operation)} |"
        for path, methods in document["paths"].items()
        for method, operation in methods.items()
    ]
    return "\n".join(
        [
            "# HTTP API",
            "",
            "A running server describes `/api/*` in full at `/api/docs`, and as OpenAPI at `/api/openapi.json`.",
            "",
            "## Billing and accounts",
            "",
            "| request | what it does |",
            "|---|---|",
            *rows,
            "",
            _GATEWAY_HTTP,
        ]
    )


PAGES: Final = {
    "settings.md": settings_page,
    "commands.md": commands_page,
    "outcomes.md": outcomes_page,
    "http.md": http_page,
}


def _first_sentence(operation: dict[str, Any]) -> str:
    """Of a route's docstring, or its name."""
    text = " ".join((operation.get("description") or operation["summary"]).split())
    return text.partition(". ")[0].rstrip(".") + "."


def _leaves(command: Any, words: list[str]) -> Iterator[tuple[list[str], Any]]:
    children = getattr(command, "commands", None)
    if children is None:
        yield words, command
        return
    for name, child in children.items():
        yield from _leaves(child, [*words, name])


def _shown(value: object) -> str:
    if value is None:
        return ""
    return f"`{str(value).lower() if isinstance(value, bool) else value}`"


if __name__ == "__main__":
    for name, page in PAGES.items():
        (FOLDER / name).write_text(page())
