"""An application with 23 gated features: each route is reached only while its user's quota lasts.

Run it with `uvicorn --app-dir examples/gated_app app:app`: on the database that DATABASE_URL names, or else on the
server of TALLYSTICK_URL with TALLYSTICK_SERVICE_TOKEN.
"""

import os
import tomllib
from pathlib import Path
from typing import Annotated

from fastapi import Depends, FastAPI, HTTPException, Request

from tallystick import Tallystick, require_tier

CATALOG = tomllib.loads(Path(__file__).parents[1].joinpath("catalog.toml").read_text())

app = FastAPI()
if "DATABASE_URL" in os.environ:
    tally = Tallystick.open(os.environ["DATABASE_URL"])
else:
    tally = Tallystick.connect(os.environ["TALLYSTICK_URL"], service_token=os.environ["TALLYSTICK_SERVICE_TOKEN"])


def current_user(request: Request) -> str:
    """Stands for your sign-in: whoever says a name is believed."""
    user: str | None = request.headers.get("x-user")
    if user is None:
        raise HTTPException(401, "Say who you are in x-user.")
    return user


tally.install(app, user=current_user)


def gated(feature: str) -> None:
    @app.post(f"/api/{feature}", name=feature)
    async def use(_: Annotated[bool, Depends(require_tier(feature))]) -> dict[str, str]:
        return {"done": feature}


for feature in CATALOG["feature"]:
    gated(feature["name"])


@app.get("/api/quota/{feature}")
async def quota(feature: str, user: Annotated[str, Depends(current_user)]) -> dict[str, object]:
    """What a page shows beside a button."""
    found = await tally.check_quota(user, feature)
    return {"allowed": found.allowed, "remaining": found.remaining, "tier": found.tier}


@app.post("/api/documents")
async def read_document(pages: int, user: Annotated[str, Depends(current_user)]) -> dict[str, object]:
    """Charged by the page: the most is set aside before the work, what was read is charged after it."""
    async with tally.charge(user, meter="document_page", quantity=pages) as charge:
        blank = pages // 4
        charge.used(pages - blank)
    return {"read": charge.quantity}
