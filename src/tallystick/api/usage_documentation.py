"""What the OpenAPI document says about usage: the body that FastAPI does not parse, and examples of answers."""

from typing import Any, Final

from tallystick.api.openapi import NO_SERVICE, NOT_SIGNED_IN, SERVICE, answers, body, error, fields

_TEXT: Final[dict[str, Any]] = {"type": "string", "minLength": 1, "maxLength": 200}
_EVENT: Final[dict[str, Any]] = {
    "type": "object",
    "required": ["id", "meter"],
    "additionalProperties": False,
    "description": "With either user_id or organization, and what its meter counts: quantity, value or nothing.",
    "properties": {
        "id": {**_TEXT, "description": "Your own id: the same one counts once; with other content it is refused."},
        "user_id": {**_TEXT, "description": "A user, whose organization used it."},
        "organization": _TEXT,
        "meter": {**_TEXT, "description": "A meter of the catalog."},
        "quantity": {"type": "integer", "minimum": 0, "maximum": 10**15},
        "value": {**_TEXT, "description": "What a meter of unique values counts; without it, the session."},
        "at": {"type": "string", "format": "date-time", "description": "When it happened; without it, now."},
        "key": {**_TEXT, "description": "The id of an API key of the organization."},
        "model": _TEXT,
        "session": _TEXT,
        "properties": {
            "type": "object",
            "maxProperties": 50,
            "additionalProperties": {"type": ["string", "number", "boolean", "null"]},
        },
    },
}

EVENTS_BODY: Final = {
    **body(
        fields({"events": {"type": "array", "minItems": 1, "maxItems": 1000, "items": _EVENT}}, "events"),
        {
            "events": [
                {"id": "run-7", "user_id": "user_abc123", "meter": "document_page", "quantity": 12},
                {"id": "run-8", "user_id": "user_abc123", "meter": "agent_sessions", "session": "s-41"},
            ]
        },
    ),
    "parameters": SERVICE,
}
EVENTS: Final = answers(
    (
        200,
        "One result per event.",
        {
            "results": [
                {
                    "id": "run-7",
                    "outcome": "recorded",
                    "at": "2026-02-27T11:30:00Z",
                    "period": {"from": "2026-02-01T00:00:00Z", "to": "2026-03-01T00:00:00Z"},
                    "late": False,
                    "units": 12,
                    "over_cap": False,
                    "charge": "0.00",
                },
                {
                    "id": "run-8",
                    "outcome": "refused",
                    "status": 409,
                    **error("usage_event_conflict", "This id was used before, for an event with other content."),
                },
            ],
            "succeeded": 1,
            "failed": 1,
        },
    ),
    NO_SERVICE,
    (422, "The body is not one of these.", error("invalid_request", "events must be a list", field="events")),
)
USAGE: Final = answers(
    (
        200,
        "What was used.",
        {
            "organization": "org_abc123",
            "from": "2026-02-01T00:00:00Z",
            "to": "2026-03-01T00:00:00Z",
            "group_by": "model",
            "usage": [
                {"model": None, "meter": "document_page", "units": 12, "charge": "0.12"},
                {"model": "fast", "meter": "requests", "units": 42, "charge": "0.00"},
            ],
            "charge": "0.12",
        },
    ),
    NOT_SIGNED_IN,
    (
        422,
        "A field is wrong; it is named.",
        error("invalid_request", "group_by must be one of meter, day, key, model", field="group_by"),
    ),
)
