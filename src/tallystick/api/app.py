"""The JSON API as one FastAPI application: routers in, one shape of errors out."""

from fastapi import FastAPI
from starlette.responses import HTMLResponse

from tallystick.api import (
    audit,
    auth,
    billing,
    charges,
    credentials,
    invitation_page,
    invitations,
    keys,
    members,
    orders,
    organizations,
    return_pages,
    tier,
    top_up,
    usage,
    webhooks,
)
from tallystick.api import credits as credits_routes
from tallystick.api.dependencies import ApiDependencies
from tallystick.api.envelope import Envelope
from tallystick.api.errors import answer_errors
from tallystick.api.reference_page import reference_page


def create_api(dependencies: ApiDependencies) -> FastAPI:
    """The application for /api/*. What it is handed stays the caller's to start and to stop."""
    app = FastAPI(
        title="Tallystick",
        summary="Prepaid credits for AI APIs on a double-entry ledger.",
        openapi_url="/api/openapi.json",
        # The usual documentation pages load scripts from other people's servers; ours is plain HTML.
        docs_url=None,
        redoc_url=None,
        redirect_slashes=False,
    )
    app.state.dependencies = dependencies
    app.include_router(auth.router)
    app.include_router(organizations.router)
    app.include_router(members.router)
    app.include_router(invitations.router)
    app.include_router(keys.router)
    app.include_router(credentials.router)
    app.include_router(credits_routes.router)
    app.include_router(billing.router)
    app.include_router(orders.router)
    app.include_router(webhooks.router)
    app.include_router(audit.router)
    app.include_router(top_up.router)
    app.include_router(usage.router)
    app.include_router(tier.router)
    app.include_router(charges.router)
    app.include_router(return_pages.router)
    app.include_router(invitation_page.router)
    answer_errors(app)
    tier.answer_used_up(app)
    app.add_middleware(
        Envelope,
        body_max_bytes=dependencies.body_max_bytes,
        body_timeout_s=dependencies.body_timeout_s,
    )

    @app.get("/api/docs", include_in_schema=False)
    async def documentation() -> HTMLResponse:
        return HTMLResponse(reference_page(app.openapi()))

    return app
