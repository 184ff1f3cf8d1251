"""docs/reference/errors.md is what the code says: every code that the API can answer with, and no other.

`python tests/api/test_errors_page.py` writes it."""

import importlib
import pkgutil
from pathlib import Path

import tallystick
from tallystick.base.errors import TallystickError

PAGE = Path(__file__).parents[2] / "docs" / "reference" / "errors.md"
SOURCE = Path(tallystick.__file__).parent
PACKAGES = (
    "api", "library", "payments", "quotas", "metering", "reservations", "subscriptions",
    "catalog", "accounts", "ledger", "base",
)  # fmt: skip
HEAD = """# Errors of the API

Every refusal has one shape. `code` is what a program acts on, `message` is for people, and further fields tell more:

```json
{"error": {"code": "insufficient_credits", "message": "...", "balance": 0.03, "required": 0.05}}
```

`x-request-id` names the request in the server's log. With 429 and 503 comes `Retry-After`. In Python each code is an
exception of `tallystick`, or a subclass of one. Paths and methods that do not exist are `not_found` and
`method_not_allowed`. The gateway (`/v1/*`) answers in the dialect of its callers instead.

| code | status | what it means |
|---|---|---|
"""


def _descendants(error):
    for child in error.__subclasses__():
        yield child
        yield from _descendants(child)


def _page():
    # Whatever else this process imported, the page tells of the same classes.
    for package in PACKAGES:
        for module in pkgutil.walk_packages([str(SOURCE / package)], f"tallystick.{package}."):
            importlib.import_module(module.name)
    mine = {e for e in _descendants(TallystickError) if e.__module__.split(".")[:2][-1] in PACKAGES}
    assert all(error.__doc__ for error in mine)
    rows = {}
    # A class that has no code of its own is told of with its parent.
    for error in sorted(mine, key=lambda e: (e.status, e.code, len(e.__mro__), e.__name__)):
        rows.setdefault((error.status, error.code), " ".join(error.__doc__.split("\n\n")[0].split()))
    return HEAD + "".join(f"| `{code}` | {status} | {text} |\n" for (status, code), text in rows.items())


def test_the_page_is_what_the_code_says():
    assert PAGE.read_text() == _page(), "run: python tests/api/test_errors_page.py"


if __name__ == "__main__":
    PAGE.write_text(_page())
