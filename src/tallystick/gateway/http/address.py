"""Where a provider listens, and the path that its calls begin with (pure)."""

from typing import Final, NamedTuple
from urllib.parse import quote, urlsplit

_PORTS: Final = {"http": 80, "https": 443}
# What may stand in a path as it is; "%" too, since a path that was escaped already must not be escaped twice.
_PATH: Final = "/%:@!$&'()*+,;=~"


class Address(NamedTuple):
    """Connections are shared by those who call the same address, and by nobody else."""

    host: str
    port: int
    tls: bool

    @property
    def authority(self) -> str:
        """As the `host` header has it."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host if self.port == _PORTS["https" if self.tls else "http"] else f"{host}:{self.port}"


def split(url: str) -> tuple[Address, str]:
    """The address and the path of a URL. Raises ValueError for what cannot be called."""
    parts = urlsplit(url)
    if parts.scheme not in _PORTS or not parts.hostname:
        raise ValueError("an http or https URL with a host is needed")
    host = parts.hostname.encode("idna").decode("ascii") if not parts.hostname.isascii() else parts.hostname
    return Address(host, parts.port or _PORTS[parts.scheme], parts.scheme == "https"), quote(parts.path, safe=_PATH)
