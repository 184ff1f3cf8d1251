"""Structured logs on standard error: one line per event, with the request id where there is one, and no secret."""

import logging
import re
import sys
from typing import Final

import structlog
from structlog.typing import EventDict, Processor, WrappedLogger

# What a secret of ours or of a provider looks like. No code logs one on purpose; this is the net below it.
_SECRET: Final = re.compile(r"\b(tsk|tss|sk|rk|whsec|pk)[-_][A-Za-z0-9_\-]{8,}|postgres(ql)?://[^@\s]+@")

# They write a line for every call they make; ours say what the calls were for.
_CHATTY: Final = ("httpx", "httpcore", "stripe", "alembic", "asyncio")


def configure(level: str, layout: str) -> None:
    """Send structlog and the standard library's logging through one chain; call once per process, first thing."""
    shared: list[Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.processors.format_exc_info,
        redact,
    ]
    last = structlog.processors.JSONRenderer() if layout == "json" else structlog.dev.ConsoleRenderer()
    threshold = logging.getLevelNamesMapping()[level.upper()]
    structlog.configure(
        processors=[*shared, last],
        wrapper_class=structlog.make_filtering_bound_logger(threshold),
        logger_factory=structlog.WriteLoggerFactory(sys.stderr),
        cache_logger_on_first_use=True,
    )
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(structlog.stdlib.ProcessorFormatter(processor=last, foreign_pre_chain=shared))
    logging.basicConfig(handlers=[handler], level=threshold, force=True)
    for library in _CHATTY:
        logging.getLogger(library).setLevel(max(threshold, logging.WARNING))


def redact(_logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
    """Replace whatever looks like a secret, in any field that is text."""
    for name, value in event.items():
        if isinstance(value, str) and _SECRET.search(value):
            event[name] = _SECRET.sub("[redacted]", value)
    return event
