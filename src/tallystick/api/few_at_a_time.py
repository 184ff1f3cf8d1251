"""What is dear to answer is answered to each organization only so often at a time; the others do not wait for it."""

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager

from tallystick.base.errors import RateLimited


class FewAtATime:
    """Of one process: several workers allow as many each."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._running: Counter[str] = Counter()

    @contextmanager
    def one_of(self, organization: str) -> Iterator[None]:
        """Raises RateLimited."""
        if self._running[organization] >= self._most:
            raise RateLimited(f"{self._most} of these are answered at a time. Send this one again.", 1)
        self._running[organization] += 1
        try:
            yield
        finally:
            self._running[organization] -= 1
            if not self._running[organization]:
                del self._running[organization]
