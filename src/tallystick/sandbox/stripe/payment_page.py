"""The hosted payment page: what a customer sees between "buy" and the shop's thank-you. Works without any script."""

from collections import defaultdict

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from tallystick.sandbox.stripe import (
    checkout_payment,
    invoice_line,
    invoice_payment,
    page,
    payment,
    subscription_checkout,
)
from tallystick.sandbox.stripe.amount import format_amount
from tallystick.sandbox.stripe.refusal import Refusal
from tallystick.sandbox.stripe.world import Object, World


class PaymentPage:
    def __init__(self, world: World) -> None:
        self._world = world

    def routes(self) -> list[Route]:
        return [
            Route("/c/pay/{id}", self._show),
            Route("/c/pay/{id}", self._pay, methods=["POST"]),
            Route("/c/authenticate/{id}", self._ask),
            Route("/c/authenticate/{id}", self._authenticate, methods=["POST"]),
            Route("/c/page.css", page.style),
        ]

    async def _show(self, request: Request) -> Response:
        session = self._session(request)
        if session is None:
            return page.message("Nothing to pay here", "This link is not known. Check the address.", 404)
        checkout_payment.close_when_due(self._world, session)
        back = _back(session)
        if session["status"] == "expired":
            return page.message("This link has expired", "Go back to the shop and start again.", 410, back)
        if session["status"] == "complete":
            return page.message("You have already paid", "Thank you. There is nothing more to do.", 200, back)
        return self._form(session, {}, problem=checkout_payment.problem_of(self._world, session))

    async def _pay(self, request: Request) -> Response:
        session = self._session(request)
        if session is None:
            return page.message("Nothing to pay here", "This link is not known. Check the address.", 404)
        typed = page.typed(await request.form())
        used, problem = page.chosen(typed, session["payment_method_types"])
        if used is None and checkout_payment.needs_method(session):
            return self._form(session, typed, problem=problem, status=422)
        try:
            intent = checkout_payment.pay(
                self._world, session, used, email=typed.get("email") or None, name=typed.get("name") or None
            )
        except Refusal as refused:
            return page.message("This payment could not be made", str(refused), refused.status, _back(session))
        return _after(session, intent)

    async def _ask(self, request: Request) -> Response:
        intent = self._intent(request)
        if intent is None or intent["status"] != "requires_action":
            return page.message("Nothing to confirm", "This payment is not waiting for you.", 410)
        amount = format_amount(intent["amount"], intent["currency"])
        return page.render("authenticate.html", intent=intent, amount=amount)

    async def _authenticate(self, request: Request) -> Response:
        intent = self._intent(request)
        if intent is None or intent["status"] != "requires_action":
            return page.message("Nothing to confirm", "This payment is not waiting for you.", 410)
        typed = page.typed(await request.form())
        payment.authenticate(self._world, intent, passed=typed.get("result") == "passed")
        session = self._world.keep("session_of_intent").get(intent["id"])
        if session is not None:
            return _after(self._world.get("checkout.session", session), intent)
        billed = invoice_payment.of_intent(self._world, intent["id"])
        if billed is not None:
            return page.redirect(f"/c/invoice/{billed['invoice']}")
        return page.message("Thank you", "Your bank has answered. You can close this page.", 200)

    def _form(self, session: Object, typed: dict[str, str], *, problem: str, status: int = 200) -> Response:
        items = [{**item, "shown": _sum(item)} for item in self._world.keep("line_items")[session["id"]]["data"]]
        return page.render(
            "pay.html",
            status,
            title="To pay",
            items=items,
            total=format_amount(session["amount_total"], session["currency"]),
            terms=subscription_checkout.terms(self._world, session),
            back=session["cancel_url"],
            form={
                "action": f"/c/pay/{session['id']}",
                "button": subscription_checkout.button(self._world, session),
                "email": checkout_payment.email_of(self._world, session) or "",
                "kinds": session["payment_method_types"] if checkout_payment.needs_method(session) else [],
            },
            typed=defaultdict(str, typed),
            problem=problem,
        )

    def _session(self, request: Request) -> Object | None:
        return self._world.objects.get("checkout.session", {}).get(request.path_params["id"])

    def _intent(self, request: Request) -> Object | None:
        return self._world.objects.get("payment_intent", {}).get(request.path_params["id"])


def _sum(item: Object) -> str:
    """What an item comes to, or costs by use: nothing is used yet."""
    if item["quantity"] is None:
        return f"{invoice_line.unit_price(item['price'])} each"
    return format_amount(item["amount_total"], item["currency"])


def _after(session: Object, intent: Object | None) -> Response:
    """Where an attempt leads."""
    if session["status"] == "complete":
        return page.redirect(_success_url(session))
    if intent is not None and intent["status"] == "requires_action":
        return page.redirect(f"/c/authenticate/{intent['id']}")
    return page.redirect(f"/c/pay/{session['id']}")


def _back(session: Object) -> str:
    return _success_url(session) if session["status"] == "complete" else session["cancel_url"] or ""


def _success_url(session: Object) -> str:
    return str(session["success_url"]).replace("{CHECKOUT_SESSION_ID}", session["id"])
