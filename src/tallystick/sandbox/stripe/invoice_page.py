"""The hosted page of an invoice: what it is for, and a form to pay it while it is open."""

from collections import defaultdict

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from tallystick.sandbox.stripe import collection, invoice, page, payment_method
from tallystick.sandbox.stripe.amount import format_amount
from tallystick.sandbox.stripe.invoice_line import day
from tallystick.sandbox.stripe.world import Object, World

_STATES = {
    "draft": "It is still being written.",
    "open": "The bank has not answered yet.",
    "paid": "It is paid. Thank you.",
    "uncollectible": "It was given up.",
    "void": "It is void: there is nothing to pay.",
}
_KINDS = ["card", "us_bank_account"]


class InvoicePage:
    def __init__(self, world: World) -> None:
        self._world = world

    def routes(self) -> list[Route]:
        return [
            Route("/c/invoice/{id}", self._show),
            Route("/c/invoice/{id}", self._pay, methods=["POST"]),
        ]

    async def _show(self, request: Request) -> Response:
        bill = self._bill(request)
        return _unknown() if bill is None else self._form(bill, {}, problem=self._last_error(bill))

    async def _pay(self, request: Request) -> Response:
        bill = self._bill(request)
        if bill is None:
            return _unknown()
        typed = page.typed(await request.form())
        used, problem = page.chosen(typed, _KINDS)
        if used is None:
            return self._form(bill, typed, problem=problem, status=422)
        if bill["status"] == "open":
            method = payment_method.make(self._world, used, email=typed.get("email"), name=typed.get("name"))
            collection.collect(self._world, bill, method, present=True)
        intent = invoice.intent_of(self._world, bill)
        if intent is not None and intent["status"] == "requires_action":
            return page.redirect(f"/c/authenticate/{intent['id']}")
        return page.redirect(f"/c/invoice/{bill['id']}")

    def _form(self, bill: Object, typed: dict[str, str], *, problem: str, status: int = 200) -> Response:
        items = [
            {**line, "shown": format_amount(line["amount"], line["currency"]), "quantity": 1}
            for line in bill["lines"]["data"]
        ]
        total = format_amount(bill["amount_due"], bill["currency"])
        form = None
        if self._is_payable(bill):
            email = bill["customer_email"] or ""
            form = {"action": f"/c/invoice/{bill['id']}", "button": f"Pay {total}", "email": email, "kinds": _KINDS}
        return page.render(
            "pay.html",
            status,
            title=f"Invoice {bill['number'] or ''} of {day(bill['created'])}",
            items=items,
            total=total,
            terms="",
            back=None,
            form=form,
            state=_STATES[bill["status"]],
            typed=defaultdict(str, typed),
            problem=problem,
        )

    def _is_payable(self, bill: Object) -> bool:
        intent = invoice.intent_of(self._world, bill)
        return bill["status"] == "open" and intent is not None and intent["status"] != "processing"

    def _last_error(self, bill: Object) -> str:
        intent = invoice.intent_of(self._world, bill)
        error = intent and intent["last_payment_error"]
        return str(error["message"]) if error and bill["status"] == "open" else ""

    def _bill(self, request: Request) -> Object | None:
        return self._world.objects.get("invoice", {}).get(request.path_params["id"])


def _unknown() -> Response:
    return page.message("No such invoice", "This link is not known. Check the address.", 404)
