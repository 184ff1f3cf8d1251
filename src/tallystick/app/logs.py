"""Structured logs on standard error: one line per event, with the request id where there is one, and no secret."""

import logging
import re
import sys
from typing import Any, Final

import orjson
import structlog
from structlog.typing import EventDict, Processor, WrappedLogger

# What a secret of ours or of a provider looks like. No code logs one on purpose; this is the net below it.
_HINTS: Final = ("sk_", "sk-", "tss_", "tss-", "rk_", "rk-", "pk_", "pk-", "whsec", "postgres")
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
    ]
    last: list[Any] = [_as_json if layout == "json" else structlog.dev.ConsoleRenderer(), redact]
    threshold = logging.getLevelNamesMapping()[level.upper()]
    structlog.configure(
        processors=[*shared, *last],
        wrapper_class=structlog.make_filtering_bound_logger(threshold),
        logger_factory=structlog.WriteLoggerFactory(sys.stderr),
        cache_logger_on_first_use=True,
    )
    handler = logging.StreamHandler(sys.stderr)
    chain: list[Any] = [structlog.stdlib.ProcessorFormatter.remove_processors_meta, *last]
    handler.setFormatter(structlog.stdlib.ProcessorFormatter(processors=chain, foreign_pre_chain=shared))
    logging.basicConfig(handlers=[handler], level=threshold, force=True)
    for library in _CHATTY:
        logging.getLogger(library).setLevel(max(threshold, logging.WARNING))


def redact(_logger: WrappedLogger, _method: str, line: str) -> str:
    """Replace whatever looks like a secret, wherever in the finished line it stands."""
    # Nearly every line has none of these, and seeing that costs a tenth of the expression.
    if not any(hint in line for hint in _HINTS):
        return line
    return _SECRET.sub("[redacted]", line)


def _as_json(_logger: WrappedLogger, _method: str, event: EventDict) -> str:
    return orjson.dumps(event, default=str).decode()
