"""The API keys that a process has met lately, in memory: bounded, and each until it expires or is forgotten."""

from collections import OrderedDict, defaultdict

import msgspec


class Caller(msgspec.Struct, frozen=True, kw_only=True):
    """Who a valid API key speaks for. A suspended organization is the caller's too: whoever asks refuses it."""

    organization: str
    account: int
    key: str
    prefix: str
    name: str
    organization_state: str
    default_max_tokens: int | None
    scopes: tuple[str, ...] = ()


class KnownKeys:
    """Callers by the digest of their secret. Times are those of one monotonic clock."""

    def __init__(self, size_max: int) -> None:
        self._size_max = size_max
        self._by_digest: OrderedDict[bytes, tuple[Caller, float]] = OrderedDict()
        self._by_organization: defaultdict[str, set[bytes]] = defaultdict(set)

    def __len__(self) -> int:
        return len(self._by_digest)

    def get(self, digest: bytes, now: float) -> Caller | None:
        """The caller, unless the key is not known here or has expired by `now`."""
        found = self._by_digest.get(digest)
        if found is None:
            return None
        caller, ends_at = found
        if now >= ends_at:
            self.forget(digest)
            return None
        self._by_digest.move_to_end(digest)
        return caller

    def put(self, digest: bytes, caller: Caller, ends_at: float) -> None:
        """Remember; the key that was not asked for longest makes room."""
        self.forget(digest)
        if len(self._by_digest) >= self._size_max:
            self.forget(next(iter(self._by_digest)))
        self._by_digest[digest] = (caller, ends_at)
        self._by_organization[caller.organization].add(digest)

    def forget(self, digest: bytes) -> None:
        found = self._by_digest.pop(digest, None)
        if found is None:
            return
        organization = found[0].organization
        digests = self._by_organization[organization]
        digests.discard(digest)
        if not digests:
            del self._by_organization[organization]

    def forget_organization(self, organization: str) -> None:
        for digest in self._by_organization.pop(organization, ()):
            del self._by_digest[digest]

    def clear(self) -> None:
        self._by_digest.clear()
        self._by_organization.clear()
