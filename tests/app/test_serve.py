"""`tallystick serve` as an operator runs it: a process that starts, keeps its workers up and stops when it is told."""

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import time

import httpx
import psutil
import pytest

from tests.patience import PATIENCE_S


@pytest.fixture
def serve(dsn, tmp_path):
    """Start a server with these settings; whatever is still running at the end of the test is ended."""
    started = []

    def start(*words, **settings):
        clean = {
            name: value
            for name, value in os.environ.items()
            if not name.startswith(("TALLYSTICK_", "STRIPE_", "DATABASE_"))
        }
        settings.setdefault("TALLYSTICK_PORT", str(_free_port()))
        process = subprocess.Popen(
            [sys.executable, "-m", "tallystick", "serve", *words],
            env={**clean, "DATABASE_URL": dsn, **settings},
            cwd=tmp_path,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        started.append(process)
        return process, f"http://127.0.0.1:{settings['TALLYSTICK_PORT']}"

    yield start
    for process in started:
        if process.poll() is None:
            process.terminate()
        process.communicate(timeout=PATIENCE_S)


def test_it_starts_answers_and_stops_when_told(serve):
    process, address = serve("--workers", "2", "--json")
    said = json.loads(process.stdout.readline())
    assert said == {"address": address, "openai_base_url": f"{address}/v1", "workers": 2}
    assert httpx.get(f"{address}/healthz", timeout=PATIENCE_S).json() == {"status": "ok"}
    assert httpx.get(f"{address}/readyz", timeout=PATIENCE_S).json() == {"status": "ready"}
    assert httpx.get(f"{address}/v1/models", timeout=PATIENCE_S).status_code == 401
    assert "tallystick_" in httpx.get(f"{address}/metrics", timeout=PATIENCE_S).text
    workers = _workers(process)
    assert len(workers) == 2

    process.send_signal(signal.SIGTERM)
    _, logged = process.communicate(timeout=PATIENCE_S)
    assert process.returncode == 0
    assert [line for line in logged.splitlines() if json.loads(line)["level"] == "error"] == []
    assert not any(worker.is_running() for worker in workers)


def test_a_killed_worker_is_replaced(serve):
    process, address = serve()
    process.stdout.readline()
    (worker,) = _workers(process)
    worker.kill()
    _until(lambda: [w for w in _workers(process) if w.pid != worker.pid])
    _until(lambda: _status(f"{address}/readyz") == 200)


def test_no_worker_outlives_its_supervisor(serve):
    process, address = serve()
    process.stdout.readline()
    (worker,) = _workers(process)
    process.kill()
    _until(lambda: not worker.is_running() or worker.status() == psutil.STATUS_ZOMBIE)
    assert _status(f"{address}/healthz") is None


def test_a_taken_port_is_said_in_one_sentence(serve):
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        process, _ = serve(TALLYSTICK_PORT=str(other.getsockname()[1]))
        _, said = process.communicate(timeout=PATIENCE_S)
    assert process.returncode == 1
    assert said.splitlines()[-1].startswith("tallystick: Cannot listen on 127.0.0.1:")
    assert "Traceback" not in said


def test_what_is_closed_is_said_loudly_at_the_start(serve):
    process, address = serve()
    process.stdout.readline()
    assert httpx.post(f"{address}/api/credits/webhook", content=b"{}", timeout=PATIENCE_S).status_code == 503
    process.terminate()
    _, logged = process.communicate(timeout=PATIENCE_S)
    mends = {json.loads(line).get("mend") for line in logged.splitlines()}
    assert {"set STRIPE_WEBHOOK_SECRET", "set STRIPE_API_KEY", "set TALLYSTICK_SERVICES_TOKENS"} <= mends


def test_a_database_that_cannot_be_reached_is_said_in_one_sentence(serve):
    process, _ = serve(DATABASE_URL=f"postgresql://nobody@127.0.0.1:{_free_port()}/none")
    _, said = process.communicate(timeout=PATIENCE_S)
    assert process.returncode == 1
    assert "Traceback" not in said
    assert said.splitlines()[-1].startswith("tallystick: ")


def _workers(process):
    with contextlib.suppress(psutil.NoSuchProcess):
        children = psutil.Process(process.pid).children(recursive=True)
        return [child for child in children if "tallystick.app.worker" in " ".join(child.cmdline())]
    return []


def _status(url):
    with contextlib.suppress(httpx.TransportError):
        return httpx.get(url, timeout=PATIENCE_S).status_code
    return None


def _until(true):
    give_up = time.monotonic() + PATIENCE_S
    while not true():
        assert time.monotonic() < give_up, "it did not happen"
        time.sleep(0.1)


def _free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]
