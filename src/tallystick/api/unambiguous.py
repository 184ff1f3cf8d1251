"""For bodies that pydantic reads: what it would read one way and somebody else another is refused before."""

from fastapi import Depends, Request

from tallystick.base import strict_json


async def _unambiguous(request: Request) -> None:
    """Raises InvalidInput: of two keys of one name pydantic would believe the last."""
    strict_json.loads(await request.body())


UNAMBIGUOUS = Depends(_unambiguous)
