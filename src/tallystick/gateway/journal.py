"""What one gateway process has sent on and not yet settled, on disk, so that its death leaves no call unaccounted for.

One file per process, named by the `dispatcher` id that stands on its holds, locked for as long as the process lives.
Lines are only appended. A call is written down before it leaves; a plain write survives the death of the process, and
costs a tenth of a commit. Only a settlement that the database could not take is fsynced: nothing else knows it.
docs/decisions/0011-gateway-journal.md has the reasons. No line holds a prompt, an answer or a secret.
"""

import asyncio
import fcntl
import os
import time
from collections.abc import Generator
from pathlib import Path
from typing import Final
from uuid import UUID

import msgspec

from tallystick.base.errors import Misconfigured, Unavailable
from tallystick.base.ids import new_id
from tallystick.catalog.price import Usage
from tallystick.reservations.usage_record import UsageRecord

_PREFIX: Final = "gateway-"
_SUFFIX: Final = ".journal"
_UNFINISHED: Final = ".new"
# Between clocks that may differ, and for reserves that were under way.
_MARGIN_S: Final = 3600.0


class Line(msgspec.Struct, frozen=True, gc=False, array_like=True, kw_only=True, tag=str.lower):
    hold: UUID


class Opened(Line, frozen=True, kw_only=True):
    """The head of a file; its `hold` is the dispatcher. No older hold of it than `clean_since` is open."""

    clean_since: float


class Dispatched(Line, frozen=True, kw_only=True):
    """A call that is about to leave, and the most it can use: what it is settled by when nothing later is known."""

    account: int
    api_key: str
    endpoint: str
    alias: str
    provider: str
    model: str
    stream: bool
    cost_id: int
    price_id: int
    reserved: int
    usage: Usage
    # What the hold claims, in order, and whether the plan pays for the model.
    meters: tuple[str, ...] = ()
    covered: bool = False


class Progress(Line, frozen=True, kw_only=True):
    """What a call has used so far."""

    usage: Usage


class Settlement(Line, frozen=True, kw_only=True):
    """How a call ended, for the ledger that could not be told."""

    record: UsageRecord
    # What was used of each claim; None where there are none, or where the hold is only released.
    units: tuple[int, ...] | None = None


class Ended(Line, frozen=True, kw_only=True):
    """The ledger knows."""


Unsettled = Dispatched | Settlement


class Found(msgspec.Struct, frozen=True):
    """A dead process's journal: its dispatcher id, when it was last clean, and its open calls as they stand."""

    dispatcher: UUID
    clean_since: float
    open: dict[UUID, Unsettled]


class Journal:
    """The journal of this process."""

    def __init__(self, folder: Path, *, rotate_bytes: int = 64_000_000) -> None:
        self.dispatcher = new_id()
        self.folder = folder
        self._path = folder / f"{_PREFIX}{self.dispatcher}{_SUFFIX}"
        self._rotate_bytes = rotate_bytes
        self._encoder = msgspec.json.Encoder()
        # The last line of each open call, and the last of its progress, for the next file.
        self._open: dict[UUID, bytes] = {}
        self._progress: dict[UUID, bytes] = {}
        # Ends are written with the next call that leaves: losing some only means asking the database again.
        self._ended = bytearray()
        self._size = 0
        self._file = -1

    def start(self) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        self._file = self._create(self._path)

    def stop(self, *, clean: bool) -> None:
        """Close it. `clean` says that no hold of this process is open: else it is left for whoever recovers next."""
        if clean and not self._open:
            self._path.unlink(missing_ok=True)
        else:
            self._write_out(b"")
        os.close(self._file)
        self._file = -1

    def dispatched(self, line: Dispatched) -> None:
        """Before a call leaves: from here on its hold ends by what is written here, and never on a timeout."""
        self._open[line.hold] = self._append(line)
        if self._size > self._rotate_bytes:
            self._rotate()

    def progress(self, hold: UUID, usage: Usage) -> None:
        """What would be lost by a crash if it were not written now."""
        self._progress[hold] = self._append(Progress(hold=hold, usage=usage))

    async def settlement(self, record: UsageRecord, units: tuple[int, ...] | None = None) -> None:
        """A settlement that the database did not take: on disk before anybody is told that the call is paid."""
        self._open[record.id] = self._append(Settlement(hold=record.id, record=record, units=units))
        self._progress.pop(record.id, None)
        await asyncio.to_thread(os.fsync, self._file)

    def ended(self, hold: UUID) -> None:
        if self._open.pop(hold, None) is not None:
            self._progress.pop(hold, None)
            self._ended += self._encode(Ended(hold=hold))

    def _encode(self, line: Line) -> bytes:
        return self._encoder.encode(line) + b"\n"

    def _append(self, line: Line) -> bytes:
        encoded = self._encode(line)
        self._write_out(encoded)
        return encoded

    def _write_out(self, line: bytes) -> None:
        data = bytes(self._ended) + line
        try:
            _write(self._file, data)
        except OSError as error:
            # Part of it may be there: the next line must not become the end of this one.
            self._ended[:0] = b"\n"
            raise Unavailable("The journal of this server cannot be written; its disk may be full.", 5) from error
        self._ended.clear()
        self._size += len(data)

    def _rotate(self) -> None:
        """Go on in a new file that holds only what is open, locked before it takes the old one's name."""
        fresh = self._path.with_suffix(_UNFINISHED)
        file = self._create(fresh)
        _write(file, b"".join([*self._open.values(), *self._progress.values()]))
        os.fsync(file)
        fresh.replace(self._path)
        os.close(self._file)
        self._file = file
        self._ended.clear()

    def _create(self, path: Path) -> int:
        file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_APPEND | os.O_CLOEXEC, 0o600)
        if not _lock(file):
            raise Misconfigured(f"The journal {path} cannot be locked; its folder must be on a local disk.")
        oldest = min(self._open, default=None)
        # A hold's id tells when it was made.
        clean_since = (time.time() if oldest is None else (oldest.int >> 80) / 1000) - _MARGIN_S
        header = self._encode(Opened(hold=self.dispatcher, clean_since=clean_since))
        _write(file, header)
        self._size = len(header)
        return file


def abandoned(folder: Path) -> Generator[Found]:
    """The journals of dead processes, one after the other, each locked while it is looked at and removed when the
    next is asked for. Of two who look at the same time, one gets each journal. Close it when done."""
    for path in sorted(folder.glob(f"{_PREFIX}*{_SUFFIX}")):
        try:
            file = os.open(path, os.O_RDWR | os.O_CLOEXEC)
        except FileNotFoundError:
            continue
        try:
            # Without a name any more, it was finished by another between our open and our lock.
            if _lock(file) and os.fstat(file).st_nlink:
                yield read(path)
                path.with_suffix(_UNFINISHED).unlink(missing_ok=True)
                path.unlink()
        finally:
            os.close(file)


def read(path: Path) -> Found:
    """A journal as its lines leave it. A line torn by the crash that ended it was never acted on: it is passed over."""
    dispatcher = UUID(path.name.removeprefix(_PREFIX).removesuffix(_SUFFIX))
    clean_since, found = 0.0, dict[UUID, Unsettled]()
    decoder = msgspec.json.Decoder(Opened | Dispatched | Progress | Settlement | Ended)
    for encoded in path.read_bytes().split(b"\n"):
        try:
            line = decoder.decode(encoded)
        except msgspec.MsgspecError:
            continue
        match line:
            case Opened():
                clean_since = line.clean_since
            case Dispatched() | Settlement():
                found[line.hold] = line
            case Progress():
                call = found.get(line.hold)
                if isinstance(call, Dispatched):
                    found[line.hold] = msgspec.structs.replace(call, usage=line.usage)
            case Ended():
                found.pop(line.hold, None)
    return Found(dispatcher, clean_since, found)


def _lock(file: int) -> bool:
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _write(file: int, data: bytes) -> None:
    """All of it: a disk that is full raises before the call that this line stands for leaves."""
    while data:
        data = data[os.write(file, data) :]
