"""What the descriptions of routes in the OpenAPI document are put together from."""

from typing import Any, Final


def body(schema: dict[str, Any], example: object) -> dict[str, Any]:
    """A body that FastAPI does not parse."""
    return {"requestBody": {"required": True, "content": {"application/json": {"schema": schema, "example": example}}}}


def fields(properties: dict[str, Any], *required: str) -> dict[str, Any]:
    """The schema of an object that has these and no others."""
    return {"type": "object", "additionalProperties": False, "properties": properties, "required": [*required]}


def answers(*examples: tuple[int, str, object]) -> dict[int | str, dict[str, Any]]:
    """Status, when it comes, and an example."""
    return {
        status: {"description": description, "content": {"application/json": {"example": example}}}
        for status, description, example in examples
    }


def error(code: str, message: str, **details: object) -> dict[str, object]:
    return {"error": {"code": code, "message": message, **details}}


def header(name: str, description: str, *, required: bool) -> dict[str, Any]:
    return {
        "name": name,
        "in": "header",
        "required": required,
        "schema": {"type": "string"},
        "description": description,
    }


SERVICE: Final = [header("X-Tallystick-Services-Token", "One of the server's services tokens.", required=True)]
NO_SERVICE: Final = (401, "No accepted services token.", error("unauthorized", "A valid services token is needed."))
NOT_SIGNED_IN: Final = (401, "Not signed in.", error("unauthorized", "Sign in first."))
