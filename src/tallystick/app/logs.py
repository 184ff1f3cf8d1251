"""Structured logs on standard error: one line per event, with the request id where there is one, and no secret."""

import logging
import re
import sys
from datetime import UTC, datetime
from typing import Any, Final

import orjson
import structlog
from structlog.typing import EventDict, Processor, WrappedLogger

# What a secret of ours or of a provider looks like. No code logs one on purpose; this is the net below it.
_SECRET: Final = re.compile(r"\b(tsk|tss|tsi|sk|rk|whsec|pk)[-_][A-Za-z0-9_\-]{8,}|postgres(ql)?://[^@\s]+@")

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
    logger = structlog.make_filtering_bound_logger(threshold)
    structlog.configure(
        processors=[*shared, *last],
        wrapper_class=_in_one_step(logger) if layout == "json" else logger,
        logger_factory=structlog.WriteLoggerFactory(sys.stderr),
        cache_logger_on_first_use=True,
    )
    handler = logging.StreamHandler(sys.stderr)
    chain: list[Any] = [structlog.stdlib.ProcessorFormatter.remove_processors_meta, *last]
    handler.setFormatter(structlog.stdlib.ProcessorFormatter(processors=chain, foreign_pre_chain=shared))
    logging.basicConfig(handlers=[handler], level=threshold, force=True)
    for library in _CHATTY:
        logging.getLogger(library).setLevel(max(threshold, logging.WARNING))


def _in_one_step(logger: type[Any]) -> type[Any]:
    """The same lines without the steps of the chain, which cost a paid call more than the line itself does."""

    class InOneStep(logger):  # type: ignore[misc]
        def _proxy_to_logger(self, method_name: str, event: str | None = None, **fields: Any) -> Any:
            # A line that names its request itself lacks nothing that the context of an API request could add.
            if self._context or "request_id" not in fields or "exc_info" in fields:
                return super()._proxy_to_logger(method_name, event, **fields)
            fields["event"], fields["level"], fields["timestamp"] = event, method_name, datetime.now(UTC)
            return self._logger.msg(redact(self._logger, method_name, _as_json(self._logger, method_name, fields)))

    return InOneStep


def redact(_logger: WrappedLogger, _method: str, line: str) -> str:
    """Replace whatever looks like a secret, wherever in the finished line it stands."""
    # Nearly every line has none of these, and seeing that costs a tenth of the expression.
    if "k_" in line or "k-" in line or "tss" in line or "tsi_" in line or "whsec" in line or "postgres" in line:
        return _SECRET.sub("[redacted]", line)
    return line


def _as_json(_logger: WrappedLogger, _method: str, event: EventDict) -> str:
    return orjson.dumps(event, default=str, option=orjson.OPT_UTC_Z).decode()
