"""Who is signed in: by `Authorization: Bearer tss_...`, or by the session cookie of a page of ours.

A browser sends the cookie along with whatever any site makes it send. So with the cookie, whatever changes something
needs proof that one of our own pages asked. A bearer token is its own proof: no browser adds it by itself.
"""

from typing import Annotated, Final
from urllib.parse import urlsplit

from fastapi import Depends, Request

from tallystick.accounts import session
from tallystick.accounts.session import SignedIn
from tallystick.api.dependencies import Dependencies
from tallystick.base.errors import Forbidden, Unauthorized

COOKIE: Final = "tallystick_session"
_SAFE_METHODS: Final = frozenset({"GET", "HEAD", "OPTIONS"})


class CrossSiteRequest(Forbidden):
    """Another site may have made the browser send this."""

    code = "cross_site_request"


async def signed_in(request: Request, dependencies: Dependencies) -> SignedIn:
    """The person, acting for their personal organization, or for the one named by `?organization=`."""
    token = session_token(request, dependencies.public_url)
    return await session.find(dependencies.pool, token, organization=request.query_params.get("organization"))


CurrentMember = Annotated[SignedIn, Depends(signed_in)]


def session_token(request: Request, public_url: str) -> str:
    """The token that came with the request, looked at no further. Raises Unauthorized where there is none, and
    CrossSiteRequest for a cookie that another site may have made the browser send."""
    headers = request.headers.getlist("authorization")
    if headers:
        # Two of them are a proxy or an attacker adding one; and a cookie does not mend a header that is wrong.
        scheme, _, token = headers[0].partition(" ") if len(headers) == 1 else ("", "", "")
        if scheme.lower() != "bearer":
            raise Unauthorized("The Authorization header must be one `Bearer` with a session token.")
        return token.strip()
    cookie = request.cookies.get(COOKIE)
    if cookie is None:
        raise Unauthorized("Sign in first.")
    if request.method not in _SAFE_METHODS and not _from_our_own_page(request, public_url):
        raise CrossSiteRequest("This request did not come from a page of this server.")
    return cookie


def refuse_other_sites(request: Request, public_url: str) -> None:
    """For requests that carry no cookie yet but are answered with one: raises CrossSiteRequest when a browser says
    that another site's page asked. A program that is no browser says nothing, and passes."""
    said = "sec-fetch-site" in request.headers or "origin" in request.headers
    if said and not _from_our_own_page(request, public_url):
        raise CrossSiteRequest("This request did not come from a page of this server.")


def _from_our_own_page(request: Request, public_url: str) -> bool:
    site = request.headers.get("sec-fetch-site")
    if site is not None:
        return site == "same-origin"
    # Older browsers. Compared whole: a port or a scheme that differs is another origin.
    return request.headers.get("origin") == origin_of(public_url)


def origin_of(url: str) -> str:
    """Scheme, host and port as browsers write an origin: without a port that the scheme implies."""
    parts = urlsplit(url)
    implied = {"http": 80, "https": 443}.get(parts.scheme)
    port = f":{parts.port}" if parts.port and parts.port != implied else ""
    host = f"[{parts.hostname}]" if ":" in (parts.hostname or "") else parts.hostname
    return f"{parts.scheme}://{host}{port}"
