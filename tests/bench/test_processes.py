import os
import sys
from pathlib import Path

import pytest

from bench.processes import Tree, find, running, wait_until

_BURN = "import time\nend = time.process_time() + {seconds}\nwhile time.process_time() < end: pass\n"
# A child that burns and is reaped, then one that burns and stays.
_PARENT = f"""
import subprocess, sys
burn = {_BURN!r}
subprocess.run([sys.executable, "-c", burn.format(seconds=0.3)])
child = subprocess.Popen([sys.executable, "-c", burn.format(seconds=0.3) + "time.sleep(60)"])
child.wait()
"""


def test_a_tree_counts_its_children_those_that_ended_too(tmp_path: Path) -> None:
    log = tmp_path / "log"
    with running([sys.executable, "-c", _PARENT], log) as process:
        tree = Tree(process.pid)
        wait_until(lambda: tree.cpu_s() >= 0.6, process, log, limit_s=60)
        assert len(find(process.pid, "time.sleep(60)")) >= 1
        assert tree.pss_mb() > 5
        (child,) = (pid for pid in find(process.pid, "time.sleep(60)") if pid != process.pid)
        os.kill(child, 9)
        process.wait(10)
        assert tree.cpu_s() == 0


def test_what_ends_before_it_is_ready_is_shown_with_its_log(tmp_path: Path) -> None:
    log = tmp_path / "log"
    words = [sys.executable, "-c", "import sys; sys.exit('the port is taken')"]
    with running(words, log) as process, pytest.raises(RuntimeError, match="the port is taken"):
        wait_until(lambda: False, process, log)


def test_a_process_does_not_outlive_its_block(tmp_path: Path) -> None:
    with running([sys.executable, "-c", "import time; time.sleep(600)"], tmp_path / "log") as process:
        assert process.poll() is None
    assert process.poll() is not None
    with pytest.raises(ProcessLookupError):
        os.kill(process.pid, 0)


def test_no_time_is_lost_while_children_come_and_go(tmp_path: Path) -> None:
    burn = _BURN.format(seconds=0.02)
    parent = f"import subprocess, sys\nfor _ in range(1000): subprocess.run([sys.executable, '-S', '-c', {burn!r}])"
    with running([sys.executable, "-c", parent], tmp_path / "log") as process:
        tree = Tree(process.pid)
        readings = [tree.cpu_s() for _ in range(60)]
    assert readings == sorted(readings)
    assert readings[-1] > readings[0]
