"""Where the embedded server's files are, and who owns them.

    <data folder>/postgres/        ours; a link to /var/lib/tallystick/... where root's data folder is closed to others
      data/                        the cluster, owned by whom PostgreSQL runs as
      run/control, run/pg/         the sockets: the supervisor's, and PostgreSQL's
      password, superuser_password
      postgresql.conf, local.conf  ours, written at each start; the operator's own settings, read after it
      postgres.log

Permissions are only ever set on what is created here. Folders that were there before stay as they are.
"""

import hashlib
import os
import pwd
import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

from tallystick.base.errors import Misconfigured
from tallystick.base.postgres_binaries import Account, run_as

PORT = 5432  # only the socket's name: nothing listens on TCP
ROLE = DATABASE = "tallystick"
_ROOTS_PLACE = Path("/var/lib/tallystick")
# Accounts that root hands the server to, the best first. A system user of its own is the best.
_UNPRIVILEGED = ("tallystick", "postgres", "nobody")
# The kernel takes 107 bytes for a socket's address on Linux, 103 elsewhere.
_SOCKET_PATH_MAX = 103


@dataclass(frozen=True, slots=True)
class Home:
    """The folder, whom its supervisor runs as and whom PostgreSQL runs as; None means as ourselves."""

    path: Path
    supervisor: Account | None = None
    server: Account | None = None

    @property
    def data(self) -> Path:
        return self.path / "data"

    @property
    def major(self) -> int | None:
        """The PostgreSQL version that wrote the data; None while there is none."""
        try:
            return int((self.data / "PG_VERSION").read_text())
        except FileNotFoundError:
            return None

    @property
    def run(self) -> Path:
        """The folder of the sockets; a short one elsewhere when this one's name is too long for a socket."""
        here = self.path / "run"
        if len(os.fsencode(here / "pg" / f".s.PGSQL.{PORT}.lock")) <= _SOCKET_PATH_MAX:
            return here
        return Path("/tmp") / f"tallystick-{hashlib.sha256(os.fsencode(here)).hexdigest()[:16]}"  # noqa: S108 - its owner is checked

    def dsn(self, password: str) -> str:
        return f"postgresql://{ROLE}:{password}@{quote(str(self.run / 'pg'), safe='')}:{PORT}/{DATABASE}"


def open_home(data_dir: Path) -> Home:
    """The home inside `data_dir`, created where there is none. The caller holds the lock on its creation."""
    path = data_dir.absolute() / "postgres"
    if os.geteuid() != 0:
        path.mkdir(mode=0o700, exist_ok=True)
        if path.stat().st_uid != os.geteuid():
            raise Misconfigured(f"{path} belongs to {_name(path.stat().st_uid)}: run this as that user.")
        return Home(path.resolve())
    if path.is_symlink() and not path.exists():
        raise Misconfigured(f"{path} points to {path.readlink()}, which is gone: bring it back, or remove the link.")
    if not path.exists():
        _create_for(path, _unprivileged_account())
    path = path.resolve()
    owner = path.stat()
    if owner.st_uid != 0:
        return Home(path, supervisor=Account(owner.st_uid, owner.st_gid))
    return Home(path, server=_owner_of(path / "data") or _unprivileged_account())


def is_reachable(folder: Path, account: Account) -> bool:
    """Whether `account` can enter the folder, asked of the kernel: mode bits are not the whole answer."""
    command = ["/bin/sh", "-c", 'cd -- "$1"', "sh", str(folder)]
    entered = subprocess.run(command, cwd="/", stderr=subprocess.DEVNULL, check=False, **run_as(account))  # noqa: S603
    return entered.returncode == 0


def _create_for(path: Path, account: Account) -> None:
    path.mkdir(mode=0o711)
    path.chmod(0o711)
    if is_reachable(path, account):
        return
    path.rmdir()
    _ROOTS_PLACE.mkdir(mode=0o755, parents=True, exist_ok=True)
    place = Path(tempfile.mkdtemp(prefix=f"{path.parent.name}-", dir=_ROOTS_PLACE))
    place.chmod(0o711)
    if not is_reachable(place, account):
        place.rmdir()
        raise Misconfigured(
            f"PostgreSQL cannot run as root, and {_name(account.uid)} can enter neither {path.parent} nor "
            f"{_ROOTS_PLACE}: run this as an ordinary user, or set DATABASE_URL."
        )
    path.unlink(missing_ok=True)
    path.symlink_to(place)


def _unprivileged_account() -> Account:
    for name in _UNPRIVILEGED:
        try:
            entry = pwd.getpwnam(name)
        except KeyError:
            continue
        return Account(entry.pw_uid, entry.pw_gid)
    raise Misconfigured(
        "PostgreSQL cannot run as root, and there is no user `tallystick`, `postgres` or `nobody` to run it as: "
        "create one, run this as an ordinary user, or set DATABASE_URL."
    )


def _owner_of(path: Path) -> Account | None:
    try:
        status = path.stat()
    except FileNotFoundError:
        return None
    return Account(status.st_uid, status.st_gid)


def _name(uid: int) -> str:
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return f"user {uid}"
