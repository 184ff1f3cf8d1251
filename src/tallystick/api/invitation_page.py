"""Where the link of an invitation leads: a page that says what is offered, to sign in or up on and accept. No script.

Whether there is an account with the invited address is said to nobody who does not know its password.
"""

from pathlib import Path
from typing import Final

from fastapi import APIRouter, Request
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from starlette.responses import HTMLResponse, RedirectResponse, Response

from tallystick.accounts import invitation, session, user
from tallystick.accounts.invitation import InvitationGone, Offer
from tallystick.accounts.password import CHARS_MIN
from tallystick.accounts.session import NewSession
from tallystick.api.auth import set_session_cookie
from tallystick.api.client_address import client_address
from tallystick.api.dependencies import ApiDependencies, Dependencies
from tallystick.api.signed_in import refuse_other_sites, session_token
from tallystick.base.errors import Forbidden, InvalidInput, NotFound, TallystickError, Unauthorized

router = APIRouter(prefix="/invitations", include_in_schema=False)

_page: Final = Environment(
    loader=FileSystemLoader(Path(__file__).with_name("pages")), autoescape=True, undefined=StrictUndefined
).get_template("invitation.html")

# The address holds a secret, so nobody else is told it; the page itself is, or its own form would look like another's.
_HEADERS: Final = {
    "referrer-policy": "same-origin",
    "content-security-policy": (
        "default-src 'none'; style-src 'unsafe-inline'; img-src data:; form-action 'self'; base-uri 'none'; "
        "frame-ancestors 'none'"
    ),
}


@router.get("/accepted")
async def accepted() -> Response:
    return _show("You are in", text="You are a member of the organization now. You can close this page.")


@router.get("/{token}")
async def shown(token: str, request: Request, dependencies: Dependencies) -> Response:
    try:
        return await _offer(dependencies, request, await _look(dependencies, token))
    except InvitationGone as error:
        return _gone(error)


@router.post("/{token}")
async def answered(token: str, request: Request, dependencies: Dependencies) -> Response:
    refuse_other_sites(request, dependencies.public_url)
    try:
        offer = await _look(dependencies, token)
    except InvitationGone as error:
        return _gone(error)
    form = await request.form()
    way, password = (form.get(name, "") for name in ("way", "password"))
    try:
        started = await _accept(dependencies, request, token, offer, str(way), str(password))
    except InvitationGone as error:
        return _gone(error)
    except TallystickError as error:
        return await _offer(dependencies, request, offer, problem=error)
    done = RedirectResponse("/invitations/accepted", status_code=303, headers=_HEADERS)
    if started is not None:
        set_session_cookie(done, started, dependencies)
    return done


async def _accept(
    dependencies: ApiDependencies, request: Request, token: str, offer: Offer, way: str, password: str
) -> NewSession | None:
    """The session that begins with it, where one does."""
    address = client_address(request)
    if way == "sign-up":
        made = await user.sign_up(
            dependencies.pool, email=offer.email, password=password, address=address, invitation=token
        )
        return made.session
    if way == "accept":
        started, user_id, email = None, *await _signed_in(dependencies, request)
    elif way == "sign-in":
        found = await user.sign_in(dependencies.pool, email=offer.email, password=password, address=address)
        started, user_id, email = found.session, found.user_id, offer.email
    else:
        raise InvalidInput("way", "must be accept, sign-in or sign-up")
    async with dependencies.pool.acquire() as connection:
        await invitation.accept(connection, token, user_id=user_id, email=email)
    return started


async def _look(dependencies: ApiDependencies, token: str) -> Offer:
    async with dependencies.pool.acquire() as connection:
        return await invitation.look(connection, token)


async def _signed_in(dependencies: ApiDependencies, request: Request) -> tuple[str, str]:
    """The id and the e-mail of who is signed in; raises Unauthorized, and CrossSiteRequest as every route does."""
    found = await session.find(dependencies.pool, session_token(request, dependencies.public_url))
    return found.user_id, found.email


async def _offer(
    dependencies: ApiDependencies, request: Request, offer: Offer, *, problem: TallystickError | None = None
) -> Response:
    try:
        _user_id, email = await _signed_in(dependencies, request)
    except (Unauthorized, Forbidden, NotFound):
        email = ""
    return _show(
        f"Join {offer.organization_name}",
        offer=offer,
        signed_in=email,
        problem=problem.message if problem else "",
        status=problem.status if problem else 200,
    )


def _gone(error: InvitationGone) -> Response:
    return _show("This link leads nowhere", text=error.message, status=error.status)


def _show(
    title: str, *, text: str = "", offer: Offer | None = None, signed_in: str = "", problem: str = "", status: int = 200
) -> Response:
    body = _page.render(
        title=title, text=text, offer=offer, signed_in=signed_in, problem=problem, password_min=CHARS_MIN
    )
    return HTMLResponse(body, status_code=status, headers=_HEADERS)
