"""From where a request came, as the web server tells it."""

from fastapi import Request


def client_address(request: Request) -> str:
    return request.client.host if request.client else "unknown"
