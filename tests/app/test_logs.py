import io
import json
import logging

import pytest
import structlog

from tallystick.app import logs


@pytest.mark.parametrize(
    "secret",
    [
        "tsk_0123456789abcdefABCDEF",
        "tss_0123456789abcdefABCDEF",
        "tsi_0123456789abcdefABCDEF",
        "sk-proj-0123456789abcdef",
        "sk_live_0123456789abcdef",
        "whsec_0123456789abcdef",
        "postgresql://me:very-secret@127.0.0.1",
    ],
)
def test_what_looks_like_a_secret_never_reaches_a_log_line(secret):
    told = logs.redact(None, "info", json.dumps({"event": f"it said {secret} is wrong", "deep": [{"a": secret}]}))
    assert secret not in told
    assert "very-secret" not in told
    assert json.loads(told)["event"].startswith("it said ")


def test_words_that_only_resemble_secrets_stay():
    line = '{"event":"task_skipped","path":"/v1/chat/completions","id":"01a1fcb6-1cd7-78cf-a4fe-c2c0ea37350f"}'
    assert logs.redact(None, "info", line) == line


def test_a_line_that_names_its_request_is_like_any_other(monkeypatch):
    errors = io.StringIO()
    monkeypatch.setattr("sys.stderr", errors)
    logs.configure("info", "json")
    log = structlog.get_logger()
    with structlog.contextvars.bound_contextvars(request_id="r-1"):
        log.warning("call", alias="sk-proj-0123456789abcdef", count=2**53, none=None)
    log.warning("call", request_id="r-1", alias="sk-proj-0123456789abcdef", count=2**53, none=None)
    log.debug("call", request_id="r-1")
    log.error("failed", request_id="r-1", exc_info=ValueError("tsk_0123456789abcdefABCDEF"))
    first, second, failed = (json.loads(line) for line in errors.getvalue().splitlines())
    assert first["timestamp"][-1] == second["timestamp"][-1] == "Z"
    assert len(first.pop("timestamp")) == len(second.pop("timestamp"))
    assert first == second
    assert (second["alias"], second["level"]) == ("[redacted]", "warning")
    assert (failed["request_id"], failed["level"]) == ("r-1", "error")
    assert "ValueError: [redacted]" in failed["exception"]
    structlog.reset_defaults()
    logging.getLogger().handlers.clear()


def test_both_ways_of_logging_write_one_json_line_each(capsys):
    errors = io.StringIO()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("sys.stderr", errors)
        logs.configure("info", "json")
        structlog.get_logger().info("sealed", blocks=3)
        logging.getLogger("somebody").warning("their %s", "words")
        structlog.get_logger().debug("not shown")
    lines = [json.loads(line) for line in errors.getvalue().splitlines()]
    assert [(line["event"], line["level"]) for line in lines] == [("sealed", "info"), ("their words", "warning")]
    structlog.reset_defaults()
    logging.getLogger().handlers.clear()
