"""Log lines stand in their order, whoever wrote them and however soon."""

import asyncio
import threading

from tallystick.app.log_lines import LogLines


class File:
    def __init__(self):
        self.writes = []

    def write(self, text):
        self.writes.append(text)

    def flush(self):
        pass


async def test_the_lines_of_one_pass_are_one_write():
    file = File()
    lines = LogLines(file)
    lines.write_soon("1\n")
    lines.write_soon("2\n")
    assert file.writes == []
    await asyncio.sleep(0)
    assert file.writes == ["1\n2\n"]
    lines.write_soon("3\n")
    await asyncio.sleep(0)
    assert file.writes == ["1\n2\n", "3\n"]


async def test_what_is_written_at_once_comes_after_what_was_to_be_written_soon():
    file = File()
    lines = LogLines(file)
    lines.write_soon("1\n")
    lines.write("2\n")
    assert file.writes == ["1\n2\n"]
    lines.write_soon("3\n")
    await asyncio.sleep(0)
    assert file.writes == ["1\n2\n", "3\n"]


def test_without_an_event_loop_nothing_waits():
    file = File()
    LogLines(file).write_soon("1\n")
    assert file.writes == ["1\n"]


async def test_no_line_of_another_thread_is_lost():
    file = File()
    lines = LogLines(file)
    there = [threading.Thread(target=lambda: [lines.write_soon("there\n") for _ in range(1000)]) for _ in range(4)]
    for thread in there:
        thread.start()
    for _ in range(1000):
        lines.write_soon("here\n")
        await asyncio.sleep(0)
    for thread in there:
        await asyncio.to_thread(thread.join)
    await asyncio.sleep(0)
    written = "".join(file.writes).splitlines()
    assert (written.count("here"), written.count("there")) == (1000, 4000)
