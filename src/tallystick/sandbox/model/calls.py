"""The provider's own count of what it was asked, to be held against what somebody billed."""

from collections import Counter, deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Final

_RECENT_MAX: Final = 1000


@dataclass(slots=True)
class Calls:
    """Every completion that was begun; `finished` and `aborted` say whether the caller took all of the answer."""

    total: int = 0
    finished: int = 0
    aborted: int = 0
    by_model: Counter[str] = field(default_factory=Counter)
    prompt_tokens: int = 0
    completion_tokens: int = 0
    recent: deque[dict[str, Any]] = field(default_factory=lambda: deque(maxlen=_RECENT_MAX))

    def begin(self, model: str, prompt: int, completion: int, headers: dict[str, str]) -> Callable[[bool], None]:
        """Counts a call; the function it returns is told how it ended."""
        self.total += 1
        self.by_model[model] += 1
        self.prompt_tokens += prompt
        self.completion_tokens += completion
        shown = {name: value for name, value in headers.items() if name != "authorization"}
        call: dict[str, Any] = {"model": model, "headers": shown, "ended": None}
        self.recent.append(call)

        def ended(complete: bool) -> None:
            call["ended"] = "finished" if complete else "aborted"
            if complete:
                self.finished += 1
            else:
                self.aborted += 1

        return ended

    def shown(self, header: str | None) -> dict[str, Any]:
        """The counts, and of the last thousand calls how many came with each value of a header."""
        shown: dict[str, Any] = {
            "total": self.total,
            "finished": self.finished,
            "aborted": self.aborted,
            "by_model": dict(self.by_model),
            "prompt_tokens": self.prompt_tokens,
            "completion_tokens": self.completion_tokens,
            "recent": list(self.recent),
        }
        if header:
            shown["by_header"] = dict(Counter(call["headers"].get(header.lower()) for call in self.recent))
        return shown
