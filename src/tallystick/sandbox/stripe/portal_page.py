"""The customer portal: subscriptions, cards and invoices of one customer, and what can be changed of them."""

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from tallystick.sandbox.stripe import billing, instrument, invoice_line, page, portal, portal_session, standing
from tallystick.sandbox.stripe.amount import format_amount
from tallystick.sandbox.stripe.invoice_line import day
from tallystick.sandbox.stripe.refusal import Refusal
from tallystick.sandbox.stripe.world import Object, World

_INVOICES_MAX = 24
_DONE = {
    "cancel": "Your subscription will end with the time you have paid for.",
    "card": "Your new card is saved.",
    "change": "Your plan has changed.",
    "keep": "Your subscription goes on.",
}


class PortalPage:
    def __init__(self, world: World) -> None:
        self._world = world

    def routes(self) -> list[Route]:
        return [
            Route("/c/portal/{id}", self._show),
            Route("/c/portal/{id}/{act}", self._act, methods=["POST"]),
        ]

    async def _show(self, request: Request) -> Response:
        session = self._session(request)
        if session is None:
            return _gone()
        return self._page(session, done=_DONE.get(request.query_params.get("done", ""), ""))

    async def _act(self, request: Request) -> Response:
        session, act = self._session(request), request.path_params["act"]
        if session is None:
            return _gone()
        given = page.typed(await request.form())
        try:
            self._do(session, act, given)
        except Refusal as refused:
            return self._page(session, problem=str(refused), status=422)
        completion = (session["flow"] or {}).get("after_completion") or {}
        if completion.get("redirect"):
            return page.redirect(completion["redirect"]["return_url"])
        return page.redirect(f"/c/portal/{session['id']}?done={act}")

    def _do(self, session: Object, act: str, given: dict[str, str]) -> None:
        world, features = self._world, self._features(session)
        customer = world.get("customer", session["customer"])
        if act == "card" and features["payment_method_update"]["enabled"]:
            used = instrument.by_number(given.get("number", ""))
            if used is None or used.kind != "card":
                raise Refusal(400, "This is not a test card number. No real card works here: take one of the list.")
            portal.replace_card(world, customer, used)
            return
        mine = portal.alive(world, customer)
        found = next((one for one in mine if one["id"] == given.get("subscription")), None)
        if found is None:
            raise Refusal(400, "There is no such subscription.")
        if act == "change" and features["subscription_update"]["enabled"]:
            portal.change_plan(world, found, given.get("price", ""), features["subscription_update"])
        elif act == "cancel" and features["subscription_cancel"]["enabled"]:
            portal.cancel(world, found, features["subscription_cancel"])
        elif act == "keep" and features["subscription_cancel"]["enabled"]:
            portal.keep(world, found)
        else:
            raise Refusal(400, "This cannot be done here.")

    def _page(self, session: Object, *, done: str = "", problem: str = "", status: int = 200) -> Response:
        world, features = self._world, self._features(session)
        customer = world.get("customer", session["customer"])
        flow = (session["flow"] or {}).get("type", "")
        return page.render(
            "portal.html",
            status,
            session=session,
            features=features,
            customer=customer,
            subscriptions=[self._subscription(one, features) for one in portal.alive(world, customer)],
            methods=self._methods(customer),
            invoices=[_invoice(bill) for bill in world.of("invoice", "customer", customer["id"])[:_INVOICES_MAX]],
            flow=flow,
            done=done,
            problem=problem,
        )

    def _subscription(self, found: Object, features: Object) -> Object:
        """One subscription in a customer's words."""
        items, settings = found["items"]["data"], features["subscription_update"]
        # What is used is named on invoices; a plan is called by what has a quantity, if anything has.
        named = [item for item in items if "quantity" in item] or items
        titles = [self._world.get("product", item["price"]["product"])["name"] for item in named]
        ahead = sum(invoice_line.cost(item["price"], item.get("quantity", 0)) for item in items)
        rhythm = invoice_line.rhythm(items[0]["price"])
        latest = self._world.objects.get("invoice", {}).get(found["latest_invoice"])
        return {
            "id": found["id"],
            "title": ", ".join(titles),
            "price": f"{format_amount(ahead, found['currency'])} / {rhythm}",
            "state": _state(found),
            "ends": found["cancel_at"] is not None,
            "owed": latest["hosted_invoice_url"] if latest and found["status"] in {"past_due", "unpaid"} else "",
            "plans": [self._plan(price) for price in portal.plans(self._world, found, settings)],
        }

    def _plan(self, price: Object) -> Object:
        title = self._world.get("product", price["product"])["name"]
        amount = format_amount(invoice_line.cost(price, 1), price["currency"])
        return {"id": price["id"], "title": f"{title}: {amount} / {invoice_line.rhythm(price)}"}

    def _methods(self, customer: Object) -> list[Object]:
        """Saved cards and accounts; the one that pays first."""
        used = {customer["invoice_settings"]["default_payment_method"]}
        for found in portal.alive(self._world, customer):
            method = standing.default_method(self._world, found)
            used |= {method["id"]} if method else set()
        methods = [
            {"title": _method_title(method), "pays": method["id"] in used}
            for method in self._world.of("payment_method", "customer", customer["id"])
        ]
        return sorted(methods, key=lambda method: not method["pays"])

    def _features(self, session: Object) -> Object:
        found: Object = self._world.get("billing_portal.configuration", session["configuration"])["features"]
        return found

    def _session(self, request: Request) -> Object | None:
        session = self._world.objects.get("billing_portal.session", {}).get(request.path_params["id"])
        if session is None or "deleted" in self._world.get("customer", session["customer"]):
            return None
        return session if portal_session.use(self._world, session) else None


def _state(found: Object) -> str:
    end = day(billing.period(found)[1])
    if found["cancel_at"] is not None:
        return f"Ends on {day(found['cancel_at'])}"
    said = {
        "trialing": f"Trial until {end}",
        "past_due": "The last payment failed",
        "unpaid": "The last payment failed",
        "paused": "Paused",
        "incomplete": "Waits for its first payment",
    }
    return said.get(found["status"], f"Renews on {end}")


def _method_title(method: Object) -> str:
    shown = method[method["type"]]
    name = shown["brand"].capitalize() if method["type"] == "card" else shown["bank_name"].title()
    expires = f", expires {shown['exp_month']:02d}/{shown['exp_year']}" if method["type"] == "card" else ""
    return f"{name} ending in {shown['last4']}{expires}"


def _invoice(bill: Object) -> Object:
    return {
        "day": day(bill["created"]),
        "number": bill["number"] or "Draft",
        "amount": format_amount(bill["total"], bill["currency"]),
        "status": bill["status"].capitalize(),
        "url": bill["hosted_invoice_url"],
    }


def _gone() -> Response:
    return page.message("This link has expired", "Go back to the shop and open it again.", 410)
