"""Sign up, in and out: /api/auth/*. A session token goes out in the body, for programs, and as a cookie, for pages."""

from datetime import datetime

import msgspec
from fastapi import APIRouter, Request, Response
from pydantic import BaseModel, ConfigDict

from tallystick.accounts import member, session, user
from tallystick.accounts.session import NewSession
from tallystick.api.client_address import client_address
from tallystick.api.dependencies import Dependencies
from tallystick.api.exact_json import ExactJSON
from tallystick.api.signed_in import COOKIE, CurrentMember, refuse_other_sites, session_token
from tallystick.base.errors import Forbidden

router = APIRouter(prefix="/api/auth", tags=["sign-in"])


class SignUpClosed(Forbidden):
    """This server's operator creates the accounts."""

    code = "sign_up_closed"


class _Body(BaseModel):
    # A role, a balance or an organization in the body is refused, not ignored: who sends one expects it to count.
    model_config = ConfigDict(extra="forbid", strict=True)


class SignUpBody(_Body):
    email: str
    password: str
    name: str | None = None
    invitation: str | None = None


class SignInBody(_Body):
    email: str
    password: str


class PasswordBody(_Body):
    old_password: str
    new_password: str


class SessionAnswer(msgspec.Struct, frozen=True, kw_only=True):
    user_id: str
    organization_id: str
    session_token: str
    expires_at: datetime


@router.post("/sign-up", status_code=201)
async def sign_up(body: SignUpBody, request: Request, dependencies: Dependencies) -> Response:
    """Create a user with a personal organization, and sign them in. `invitation`, the token at the end of an
    invitation's link, is accepted with it, and opens sign-up to whoever was invited where it is closed."""
    refuse_other_sites(request, dependencies.public_url)
    if not dependencies.sign_up_open and body.invitation is None:
        raise SignUpClosed("Sign-up is closed on this server. Ask its operator for an account.")
    made = await user.sign_up(
        dependencies.pool,
        email=body.email,
        password=body.password,
        name=body.name,
        address=client_address(request),
        invitation=body.invitation,
    )
    return _with_session(201, made.user_id, made.organization_id, made.session, dependencies)


@router.post("/sign-in")
async def sign_in(body: SignInBody, request: Request, dependencies: Dependencies) -> Response:
    """A new session. An unknown e-mail and a wrong password are answered alike."""
    refuse_other_sites(request, dependencies.public_url)
    found = await user.sign_in(
        dependencies.pool, email=body.email, password=body.password, address=client_address(request)
    )
    return _with_session(200, found.user_id, found.organization_id, found.session, dependencies)


@router.post("/sign-out", status_code=204)
async def sign_out(request: Request, dependencies: Dependencies) -> Response:
    """End this session. Said for one that has ended already, it is still true."""
    await session.end(dependencies.pool, session_token(request, dependencies.public_url))
    answer = Response(status_code=204)
    answer.delete_cookie(COOKIE, path="/", httponly=True, samesite="lax", secure=_secure(dependencies))
    return answer


@router.get("/me")
async def me(current: CurrentMember, dependencies: Dependencies) -> Response:
    """Who is signed in, and the organizations they are a member of."""
    organizations = await member.organizations_of(dependencies.pool, current.user_id)
    return ExactJSON(
        {
            "user_id": current.user_id,
            "email": current.email,
            "organization_id": current.organization,
            "role": current.role,
            "organizations": organizations,
        }
    )


@router.post("/password")
async def change_password(body: PasswordBody, current: CurrentMember, dependencies: Dependencies) -> Response:
    """Change the password. Every session ends; the answer holds a new one."""
    started = await user.change_password(
        dependencies.pool, current.user_id, old=body.old_password, new=body.new_password
    )
    return _with_session(200, current.user_id, current.organization, started, dependencies)


def _with_session(
    status: int, user_id: str, organization: str, started: NewSession, dependencies: Dependencies
) -> Response:
    answer = ExactJSON(
        SessionAnswer(
            user_id=user_id,
            organization_id=organization,
            session_token=started.token,
            expires_at=started.expires_at,
        ),
        status_code=status,
    )
    set_session_cookie(answer, started, dependencies)
    return answer


def set_session_cookie(answer: Response, started: NewSession, dependencies: Dependencies) -> None:
    """Sign the browser in that gets this answer."""
    answer.set_cookie(
        COOKIE,
        started.token,
        max_age=session.DAYS * 24 * 3600,
        path="/",
        httponly=True,
        samesite="lax",
        secure=_secure(dependencies),
    )


def _secure(dependencies: Dependencies) -> bool:
    return dependencies.public_url.startswith("https://")
