"""The hosted payment page: what a customer sees between "buy" and the shop's thank-you. Works without any script."""

from collections import defaultdict
from pathlib import Path
from typing import Final

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from starlette.datastructures import FormData
from starlette.requests import Request
from starlette.responses import HTMLResponse, RedirectResponse, Response
from starlette.routing import Route

from tallystick.sandbox.stripe import checkout_payment, instrument, payment, subscription_checkout
from tallystick.sandbox.stripe.amount import format_amount
from tallystick.sandbox.stripe.instrument import Instrument
from tallystick.sandbox.stripe.refusal import Refusal
from tallystick.sandbox.stripe.world import Object, World

_TEMPLATES: Final = Path(__file__).with_name("templates")
# No `form-action`: browsers apply it to the redirect after the form too, and that leads to the shop.
_POLICY: Final = "default-src 'none'; style-src 'self'; img-src data:; base-uri 'none'; frame-ancestors 'none'"
_HEADERS: Final = {"Content-Security-Policy": _POLICY, "Referrer-Policy": "no-referrer", "Cache-Control": "no-store"}
_TEXT_MAX: Final = 200


class PaymentPage:
    def __init__(self, world: World) -> None:
        self._world = world
        loader = FileSystemLoader(_TEMPLATES)
        self._pages = Environment(loader=loader, autoescape=True, undefined=StrictUndefined, trim_blocks=True)
        self._pages.filters["grouped"] = _grouped

    def routes(self) -> list[Route]:
        return [
            Route("/c/pay/{id}", self._show),
            Route("/c/pay/{id}", self._pay, methods=["POST"]),
            Route("/c/authenticate/{id}", self._ask),
            Route("/c/authenticate/{id}", self._authenticate, methods=["POST"]),
            Route("/c/page.css", _style),
        ]

    async def _show(self, request: Request) -> Response:
        session = self._session(request)
        if session is None:
            return self._message("Nothing to pay here", "This link is not known. Check the address.", 404)
        checkout_payment.close_when_due(self._world, session)
        if session["status"] == "expired":
            return self._message("This link has expired", "Go back to the shop and start again.", 410, session)
        if session["status"] == "complete":
            return self._message("You have already paid", "Thank you. There is nothing more to do.", 200, session)
        return self._form(session, {}, problem=checkout_payment.problem_of(self._world, session))

    async def _pay(self, request: Request) -> Response:
        session = self._session(request)
        if session is None:
            return self._message("Nothing to pay here", "This link is not known. Check the address.", 404)
        typed = _typed(await request.form())
        used, problem = _instrument(session, typed)
        if used is None and checkout_payment.needs_method(session):
            return self._form(session, typed, problem=problem, status=422)
        try:
            intent = checkout_payment.pay(
                self._world, session, used, email=typed.get("email") or None, name=typed.get("name") or None
            )
        except Refusal as refused:
            return self._message("This payment could not be made", str(refused), refused.status, session)
        return self._after(session, intent)

    async def _ask(self, request: Request) -> Response:
        intent = self._intent(request)
        if intent is None or intent["status"] != "requires_action":
            return self._message("Nothing to confirm", "This payment is not waiting for you.", 410)
        amount = format_amount(intent["amount"], intent["currency"])
        return self._render("authenticate.html", 200, intent=intent, amount=amount)

    async def _authenticate(self, request: Request) -> Response:
        intent = self._intent(request)
        if intent is None or intent["status"] != "requires_action":
            return self._message("Nothing to confirm", "This payment is not waiting for you.", 410)
        typed = _typed(await request.form())
        payment.authenticate(self._world, intent, passed=typed.get("result") == "passed")
        named = self._world.keep("session_of_intent").get(intent["id"])
        if named is None:
            return self._message("Thank you", "Your bank has answered. You can close this page.", 200)
        return self._after(self._world.get("checkout.session", named), intent)

    def _after(self, session: Object, intent: Object | None) -> Response:
        """Where an attempt leads. Always a redirect: a reload of the next page must not pay again."""
        if session["status"] == "complete":
            return RedirectResponse(_success_url(session), 303, _HEADERS)
        if intent is not None and intent["status"] == "requires_action":
            return RedirectResponse(f"/c/authenticate/{intent['id']}", 303, _HEADERS)
        return RedirectResponse(f"/c/pay/{session['id']}", 303, _HEADERS)

    def _form(self, session: Object, typed: dict[str, str], *, problem: str, status: int = 200) -> Response:
        items = [
            {**item, "shown": format_amount(item["amount_total"], item["currency"])}
            for item in self._world.keep("line_items")[session["id"]]["data"]
        ]
        return self._render(
            "pay.html",
            status,
            session=session,
            items=items,
            total=format_amount(session["amount_total"], session["currency"]),
            email=checkout_payment.email_of(self._world, session) or "",
            typed=defaultdict(str, typed),
            problem=problem,
            asked=checkout_payment.needs_method(session),
            act=subscription_checkout.button(self._world, session),
            terms=subscription_checkout.terms(self._world, session),
            cards=instrument.CARDS,
            accounts=instrument.BANK_ACCOUNTS,
        )

    def _message(self, title: str, text: str, status: int, session: Object | None = None) -> Response:
        back = ""
        if session is not None:
            back = _success_url(session) if session["status"] == "complete" else session["cancel_url"] or ""
        return self._render("message.html", status, title=title, text=text, back=back)

    def _render(self, template: str, status: int, **values: object) -> Response:
        return HTMLResponse(self._pages.get_template(template).render(**values), status, _HEADERS)

    def _session(self, request: Request) -> Object | None:
        return self._world.objects.get("checkout.session", {}).get(request.path_params["id"])

    def _intent(self, request: Request) -> Object | None:
        return self._world.objects.get("payment_intent", {}).get(request.path_params["id"])


async def _style(_: Request) -> Response:
    return Response((_TEMPLATES / "page.css").read_text(), media_type="text/css")


def _typed(sent: FormData) -> dict[str, str]:
    return {key: value[:_TEXT_MAX].strip() for key, value in sent.items() if isinstance(value, str)}


def _instrument(session: Object, typed: dict[str, str]) -> tuple[Instrument | None, str]:
    """The test card or account that was typed, or what is wrong with it."""
    kind = typed.get("method", "card")
    field, what = ("account", "bank account") if kind == "us_bank_account" else ("number", "card")
    used = instrument.by_number(typed.get(field, ""))
    if used is None or used.kind != kind or kind not in session["payment_method_types"]:
        return None, f"This is not a test {what} number. No real {what} works here: take one of the list."
    return used, ""


def _success_url(session: Object) -> str:
    return str(session["success_url"]).replace("{CHECKOUT_SESSION_ID}", session["id"])


def _grouped(number: str) -> str:
    return " ".join(number[start : start + 4] for start in range(0, len(number), 4))
