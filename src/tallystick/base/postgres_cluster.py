"""Make the embedded server's cluster: it appears whole under its name, or not at all."""

import os
import secrets
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path

from tallystick.base.errors import Misconfigured
from tallystick.base.postgres_binaries import Binaries, run_as, server_version, wheel_folder
from tallystick.base.postgres_home import DATABASE, ROLE, Home

_ROOTS_BINARIES = Path("/var/lib/tallystick/binaries")
_ACCESS = """\
# Everyone gives a password; nothing listens on TCP.
local all all scram-sha-256
"""


def create_cluster(home: Home, binaries: Binaries) -> None:
    """A new cluster with the role and the database that the application uses; neither is a superuser's.

    It is made beside its place and renamed at the end, so one that was interrupted is simply made again. The server
    listens nowhere until the passwords are set: they are set in single-user mode.
    """
    staging = home.path / "data.new"
    shutil.rmtree(staging, ignore_errors=True)
    staging.mkdir(mode=0o700)
    if home.server:
        os.chown(staging, home.server.uid, home.server.gid)
    _run(home, [binaries.program("initdb"), f"--pgdata={staging}", *_INITDB])
    password, superuser_password = secrets.token_hex(24), secrets.token_hex(24)
    statements = f"""\
alter role postgres password '{superuser_password}'
create role {ROLE} login createdb password '{password}'
create database {DATABASE} owner {ROLE}
"""
    single_user = [binaries.program("postgres"), "--single", "-D", str(staging), "-c", "exit_on_error=on", "postgres"]
    _run(home, single_user, statements)
    _write_secret(home.path / "password", password)
    _write_secret(home.path / "superuser_password", superuser_password)
    access = home.path / "pg_hba.conf"
    access.write_text(_ACCESS)
    access.chmod(0o644)
    staging.rename(home.data)


_INITDB = (
    "--username=postgres",
    # Replaced by our own pg_hba.conf; until then nobody may come in.
    "--auth=reject",
    # The same order of text on every machine, whatever locales it has.
    "--encoding=UTF8",
    "--locale=C",
    "--data-checksums",
    "--no-instructions",
)


def binaries_for(home: Home, binaries: Binaries) -> Binaries:
    """The binaries themselves, or where the server's account cannot reach them (a checkout in /root), a copy."""
    if server_version(binaries.folder / "postgres", home.server):
        return binaries
    if home.server is None or binaries.folder != wheel_folder():
        raise Misconfigured(f"{binaries.program('postgres')} cannot be run by the owner of {home.path}.")
    package = binaries.folder.parent.parent
    source = package.parent
    place = _ROOTS_BINARIES / f"{binaries.major}-{_stamp(binaries.folder / 'postgres')}"
    copy = Binaries(place / package.name / "pginstall" / "bin", binaries.major)
    if not place.exists():
        _copy_tree([package, source / f"{package.name}.libs"], place)
    if not server_version(copy.folder / "postgres", home.server):
        raise Misconfigured(
            f"PostgreSQL cannot run as root, and an ordinary user can run it neither from {binaries.folder} nor "
            f"from {copy.folder}: run this as an ordinary user, or set DATABASE_URL."
        )
    return copy


def _copy_tree(folders: Sequence[Path], place: Path) -> None:
    """Copy under another name first, so that nobody runs half a copy."""
    staging = place.with_name(f"{place.name}.{os.getpid()}")
    for folder in folders:
        if folder.is_dir():
            shutil.copytree(folder, staging / folder.name, ignore=shutil.ignore_patterns("__pycache__"))
    for folder in [_ROOTS_BINARIES.parent, _ROOTS_BINARIES, *(path for path in staging.rglob("*") if path.is_dir())]:
        folder.chmod(0o755)
    staging.chmod(0o755)
    try:
        staging.rename(place)
    except OSError:
        # Someone else finished the same copy first.
        shutil.rmtree(staging)


def _stamp(program: Path) -> str:
    status = program.stat()
    return f"{status.st_size:x}-{status.st_mtime_ns:x}"


def _run(home: Home, command: Sequence[str], stdin: str = "") -> None:
    done = subprocess.run(  # noqa: S603 - programs of the installation that was found
        command,
        input=stdin,
        capture_output=True,
        text=True,
        check=False,
        cwd="/",
        env={"PATH": os.defpath, "LC_ALL": "C"},
        **run_as(home.server),
    )
    if done.returncode != 0:
        reason = (done.stderr or done.stdout).strip().splitlines() or [f"exit status {done.returncode}"]
        raise Misconfigured(f"PostgreSQL could not create its data in {home.path}: {' '.join(reason[-3:])}")


def _write_secret(path: Path, value: str) -> None:
    path.unlink(missing_ok=True)
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
        file.write(value)
