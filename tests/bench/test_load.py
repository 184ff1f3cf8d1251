import os
import shutil
from pathlib import Path

import pytest

from bench import load, nginx
from bench.ground import PATH
from bench.model import paced_answers, whole_answers

_NGINX = pytest.mark.skipif(
    shutil.which("nginx") is None and "CI" not in os.environ,
    reason="nginx is not installed: apt-get install nginx-light",
)


def test_streams_are_counted_event_by_event(tmp_path: Path) -> None:
    body = load.write_stream_body(tmp_path, tokens=8)
    with paced_answers(tmp_path, between_ms=1) as port:
        call = load.Call(f"http://127.0.0.1:{port}{PATH}", "key", body)
        result = load.read_streams(call, connections=3, seconds=0.2)
        short = load.read_streams(call, connections=1, seconds=0.01)
    assert short.requests >= 1
    # Every stream has the same number of events: eight tokens, and those that open and close it.
    assert result.events / result.requests == short.events / short.requests > 8


def test_plain_calls_are_pressed_through(tmp_path: Path) -> None:
    body = load.write_body(tmp_path)
    with whole_answers(tmp_path) as port:
        result = load.press(load.Call(f"http://127.0.0.1:{port}{PATH}", "key", body), connections=4, seconds=1)
    assert result.requests > 100
    assert 0 < result.p50_ms <= result.p99_ms


def test_refused_requests_fail_the_run(tmp_path: Path) -> None:
    body = load.write_body(tmp_path)
    with paced_answers(tmp_path, between_ms=0) as port:
        # The sandbox's model refuses a call without a key.
        call = load.Call(f"http://127.0.0.1:{port}{PATH}", "", body)
        with pytest.raises(load.LoadFailed, match="refused"):
            load.read_streams(call, connections=2, seconds=0.1)


def test_nobody_there_is_no_status(tmp_path: Path) -> None:
    assert load.status(load.Call(f"http://127.0.0.1:1{PATH}", "key", load.write_body(tmp_path))) is None


@_NGINX
def test_nginx_passes_on_what_the_model_says(tmp_path: Path) -> None:
    body = load.write_body(tmp_path)
    with nginx.stand_in(tmp_path) as model, nginx.proxy(tmp_path, model.port) as proxy:
        result = load.press(load.Call(f"{proxy.address}{PATH}", "key", body), connections=2, seconds=1)
        assert result.requests > 100
        assert model.tree.cpu_s() > 0
        assert proxy.tree.cpu_s() > 0
