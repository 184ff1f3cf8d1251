"""Where the payment provider sends the buyer's browser afterwards. They say no more than is known: the credits come
with the webhook, which these pages do not wait for."""

from html import escape
from typing import Final

from fastapi import APIRouter
from starlette.responses import HTMLResponse

from tallystick.base.errors import NotFound

router = APIRouter(prefix="/api/credits/purchase", include_in_schema=False)

_SAID: Final = {
    "paid": ("Thank you", "Your credits arrive as soon as the payment is confirmed. You can close this page."),
    "cancelled": ("Nothing was paid", "You left the payment page. You can close this page, or start again."),
}


@router.get("/{how}")
async def returned(how: str) -> HTMLResponse:
    if how not in _SAID:
        raise NotFound("There is no such page.")
    title, text = (escape(words) for words in _SAID[how])
    return HTMLResponse(
        f'<!doctype html><html lang="en"><head><meta charset="utf-8"><title>{title}</title></head>'
        f"<body><h1>{title}</h1><p>{text}</p></body></html>"
    )
