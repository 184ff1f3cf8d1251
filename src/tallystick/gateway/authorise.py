"""Who calls: one API key in one header, or one and the same refusal for everything else."""

from typing import Final

from tallystick.accounts.authenticate import Caller, KeyRing
from tallystick.accounts.organization import OrganizationSuspended
from tallystick.base.errors import Unauthorized

_REFUSED: Final = "No, unknown, revoked or expired API key."
_SCHEME: Final = b"bearer "
# Longer than any key of ours: not worth hashing.
_HEADER_BYTES_MAX: Final = 200


async def authorise(keyring: KeyRing, headers: list[tuple[bytes, bytes]]) -> Caller:
    """Raises Unauthorized, OrganizationSuspended, and Unavailable where it cannot be told."""
    caller = await keyring.caller(_secret(headers))
    if caller.organization_state != "active":
        raise OrganizationSuspended("This organization is suspended.")
    return caller


def _secret(headers: list[tuple[bytes, bytes]]) -> str:
    found = [(name, value) for name, value in headers if name in {b"authorization", b"x-api-key"}]
    # Two are refused even when one is good: a proxy and this server must not come to different conclusions.
    if len(found) != 1:
        raise Unauthorized(_REFUSED)
    name, value = found[0]
    if name == b"authorization":
        if value[: len(_SCHEME)].lower() != _SCHEME:
            raise Unauthorized(_REFUSED)
        value = value[len(_SCHEME) :]
    if len(value) > _HEADER_BYTES_MAX or not value.isascii():
        raise Unauthorized(_REFUSED)
    return value.decode("ascii")
