"""A cursor that is the id of the last thing on the page before."""

from tallystick.base.errors import InvalidInput
from tallystick.base.ids import is_text_id


def id_cursor(cursor: str | None, kind: str) -> str | None:
    """Raises InvalidInput for what no page of this kind (such as 'ord') ended with: it would silently be the wrong
    page."""
    if cursor is not None and not (is_text_id(cursor) and cursor.startswith(f"{kind}_")):
        raise InvalidInput("cursor", "must be the next_cursor of an earlier answer")
    return cursor
