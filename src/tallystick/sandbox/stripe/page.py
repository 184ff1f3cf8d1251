"""What all pages share: templates, headers, what was typed into a form, and the card it means. No page has a script."""

from pathlib import Path
from typing import Final

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from starlette.datastructures import FormData
from starlette.requests import Request
from starlette.responses import HTMLResponse, RedirectResponse, Response

from tallystick.sandbox.stripe import instrument
from tallystick.sandbox.stripe.instrument import Instrument

_TEMPLATES: Final = Path(__file__).with_name("templates")
# No `form-action`: browsers apply it to the redirect after the form too, and that leads to the shop.
_POLICY: Final = "default-src 'none'; style-src 'self'; img-src data:; base-uri 'none'; frame-ancestors 'none'"
_HEADERS: Final = {"Content-Security-Policy": _POLICY, "Referrer-Policy": "no-referrer", "Cache-Control": "no-store"}
_TEXT_MAX: Final = 200


def grouped(number: str) -> str:
    return " ".join(number[start : start + 4] for start in range(0, len(number), 4))


_pages = Environment(loader=FileSystemLoader(_TEMPLATES), autoescape=True, undefined=StrictUndefined, trim_blocks=True)
_pages.filters["grouped"] = grouped


def render(template: str, status: int = 200, **values: object) -> Response:
    """A page; the numbers that work here are on every one of them."""
    shown = {"cards": instrument.CARDS, "accounts": instrument.BANK_ACCOUNTS, **values}
    return HTMLResponse(_pages.get_template(template).render(**shown), status, _HEADERS)


def message(title: str, text: str, status: int, back: str = "") -> Response:
    return render("message.html", status, title=title, text=text, back=back)


def redirect(url: str) -> Response:
    """Every form is answered so: a reload of the next page must not do it again."""
    return RedirectResponse(url, 303, _HEADERS)


def typed(sent: FormData) -> dict[str, str]:
    return {key: value[:_TEXT_MAX].strip() for key, value in sent.items() if isinstance(value, str)}


def chosen(given: dict[str, str], kinds: list[str]) -> tuple[Instrument | None, str]:
    """The test card or account that was typed, or what is wrong with it."""
    kind = given.get("method", "card")
    field, what = ("account", "bank account") if kind == "us_bank_account" else ("number", "card")
    used = instrument.by_number(given.get(field, ""))
    if used is None or used.kind != kind or kind not in kinds:
        return None, f"This is not a test {what} number. No real {what} works here: take one of the list."
    return used, ""


async def style(_: Request) -> Response:
    return Response((_TEMPLATES / "page.css").read_text(), media_type="text/css")
