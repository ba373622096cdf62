"""Distinct statements with their counts, in memory, and the file that they are written to.

Cheap. A statement that was seen before from this line costs a look into a dictionary and a count, no lock: what threads
may lose is a count of a statement that is known, never the statement. Its line is looked for in at most 40 frames.
"""

from __future__ import annotations

import atexit
import contextlib
import json
import os
import secrets
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, Literal, TypeVar

FORMAT = "hitless.sqlmanifest/v1"
MOST_STATEMENTS = 20_000
MOST_BYTES = 200_000
"""Longest statement that is kept."""

FRAMES = 40
WRITE_EVERY_S = 5.0

Scope = Literal["tests", "staging", "canary", "production"]
Cursor = TypeVar("Cursor", bound=type)

_LIBRARIES = (
    f"{os.sep}site-packages{os.sep}",
    f"{os.sep}dist-packages{os.sep}",
    os.path.dirname(os.path.dirname(__file__)) + os.sep,  # noqa: PTH120 - prefixes of names of code
    os.path.dirname(os.__file__) + os.sep,  # noqa: PTH120 - as above
)


class _Seen:
    """One statement from one line."""

    __slots__ = ("calls", "first", "last", "text", "types", "where")

    def __init__(self, text: str, types: tuple[str, ...], where: str | None, now: float) -> None:
        self.text, self.types, self.where = text, types, where
        self.first = self.last = now
        self.calls = 0


class Capture:
    """Writes down the statements of one process for one version of a service.

    Args:
        path: `sqlmanifest.json`; the file of this process lies beside it until they are merged.
        service: the service's name, as in hitless.yaml.
        version: the version's name, as in `hitless deploy`.
        digest: of the artifact, `sha256:...`, if there is one.
        scope: where it runs: a manifest of tests needs a coverage to show that something is not sent.
        coverage: share of the application's code that sends statements and was run, 0 to 1, if it was measured.
        most: how many distinct statements are kept.
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        *,
        service: str,
        version: str,
        scope: Scope,
        digest: str | None = None,
        coverage: float | None = None,
        most: int = MOST_STATEMENTS,
    ) -> None:
        self._path = Path(path)
        self._about = {"service": service, "version": version, "digest": digest, "scope": scope, "coverage": coverage}
        self._most = most
        self._lock = threading.Lock()
        self._begin()
        atexit.register(self._at_end)
        if hasattr(os, "register_at_fork"):
            os.register_at_fork(after_in_child=self._begin)

    def _begin(self) -> None:
        """Begin anew: at the start, and in a child process, which has a file of its own."""
        self._lock = threading.Lock()
        self._seen: dict[tuple[Any, ...], _Seen] = {}
        self._lost = 0
        self._failed = 0
        self._dirty = False
        self._is_open = False  # the file on disk says that more may come
        self._began = time.time()  # noqa: TID251 - applications have no clock of ours
        self._written = time.monotonic()
        self._pid = os.getpid()
        self._name = f"{self._pid}-{secrets.token_hex(4)}"

    def record(
        self, text: str | bytes, parameters: Any = None, *, marks: Literal["$", "%"] = "%", many: bool = False
    ) -> None:
        """Write one statement down; never raises.

        Args:
            text: as the driver gets it.
            parameters: as the driver gets them; only the names of their types are kept. None = the driver replaces
                nothing in the text.
            marks: how the text writes its parameters: `%s` and `%(name)s`, or `$1`.
            many: there may be several sets of parameters; the first one tells the types.
        """
        try:
            self._record(text, _first(parameters) if many else parameters, marks)
        except Exception:  # noqa: BLE001 - the application's statement must go its way; it is counted
            self._failed += 1

    def _record(self, text: str | bytes, parameters: Any, marks: str) -> None:
        if isinstance(text, bytes):
            text = text.decode(errors="replace")
        types = _types(parameters)
        frame = _caller()
        key = (text, types, frame)
        now = time.time()  # noqa: TID251 - as above
        seen = self._seen.get(key)
        if seen is None:
            where = f"{_short(frame[0])}:{frame[1]}" if frame is not None else None
            seen = self._add(key, _Seen(text, (marks if parameters is not None else "$", *types), where, now))
        if seen is not None:
            seen.calls += 1
            seen.last = now
        if self._dirty and (not self._is_open or time.monotonic() - self._written > WRITE_EVERY_S):
            self._write(ended=False)

    def _add(self, key: tuple[Any, ...], seen: _Seen) -> _Seen | None:
        with self._lock:
            self._dirty = True
            if len(self._seen) >= self._most or len(seen.text) > MOST_BYTES:
                self._lost += 1
                return None
            return self._seen.setdefault(key, seen)

    def write(self) -> Path:
        """Write this process's file, whole or not at all, as one that has all of it; return its path."""
        return self._write(ended=True)

    def _write(self, *, ended: bool) -> Path:
        """Write the file; one that has not ended is incomplete: its process may be killed with news in memory."""
        with self._lock:
            self._dirty = False
            self._is_open = not ended
            self._written = time.monotonic()
            rows = list(self._seen.values())
        document = {
            "format": FORMAT,
            **self._about,
            "began_at": _moment(self._began),
            "until": _moment(time.time()),  # noqa: TID251 - as above
            "lost": self._lost,
            "failed": self._failed,
            "unended": 0 if ended else 1,
            "statements": [_row(one) for one in rows],
        }
        target = self._path.with_name(f"{self._path.name}.{self._name}")
        draft = target.with_name(f".{target.name}.new")
        draft.write_text(json.dumps(document, ensure_ascii=False, indent=1), encoding="utf-8")
        draft.replace(target)
        return target

    def _at_end(self) -> None:
        if os.getpid() == self._pid and (self._seen or self._lost):
            with contextlib.suppress(OSError):  # at the end of a process nobody is there to be told
                self.write()

    def sqlalchemy(self, engine: Any) -> None:
        """Write down what an Engine of SQLAlchemy sends; of an AsyncEngine, give `sync_engine`."""
        listen = sys.modules["sqlalchemy"].event.listen  # the application has imported it: it has an engine
        marks: Literal["$", "%"] = "$" if "numeric" in engine.dialect.paramstyle else "%"

        def before(_connection: Any, _cursor: Any, statement: str, parameters: Any, _context: Any, many: bool) -> None:  # noqa: FBT001 - the event's arguments
            self.record(statement, parameters, marks=marks, many=many)

        listen(engine, "before_cursor_execute", before)

    def django(self, connection: Any) -> None:
        """Write down what a connection of Django sends, from now on."""

        def wrap(execute: Callable[..., Any], sql: str, params: Any, many: bool, context: Any) -> Any:  # noqa: FBT001 - Django's arguments
            self.record(sql, params, many=many)
            return execute(sql, params, many, context)

        connection.execute_wrappers.append(wrap)

    def psycopg(self, cursor: Cursor) -> Cursor:
        """Return a cursor class of psycopg that writes down what it sends: for `cursor_factory`."""
        capture = self

        class Captured(cursor):  # type: ignore[misc,valid-type]  # whichever class the application uses
            """A cursor that writes statements down; those of asyncio return what is awaited."""

            def execute(self, query: Any, params: Any = None, **options: Any) -> Any:
                capture._psycopg(self, query, params)
                return super().execute(query, params, **options)

            def executemany(self, query: Any, params_seq: Any, **options: Any) -> Any:
                rows = list(params_seq)
                capture._psycopg(self, query, rows[0] if rows else None)
                return super().executemany(query, rows, **options)

            def stream(self, query: Any, params: Any = None, **options: Any) -> Any:
                capture._psycopg(self, query, params)
                return super().stream(query, params, **options)

            def copy(self, statement: Any, params: Any = None, **options: Any) -> Any:
                capture._psycopg(self, statement, params)
                return super().copy(statement, params, **options)

        return Captured  # type: ignore[return-value]  # a subclass of it

    def _psycopg(self, cursor: Any, query: Any, params: Any) -> None:
        """Compose what psycopg.sql composed; what cannot be written down is counted."""
        if isinstance(query, (str, bytes)):
            self.record(query, params)
            return
        try:
            text = query.as_string(cursor)
        except Exception:  # noqa: BLE001 - as in record
            self._failed += 1
            return
        self.record(text, params)


def _first(parameters: Any) -> Any:
    """Return the first set of several; SQLAlchemy hands over one where it has put many rows into one statement."""
    is_several = (
        isinstance(parameters, list | tuple) and parameters and isinstance(parameters[0], list | tuple | Mapping)
    )
    return parameters[0] if is_several else parameters


def _types(parameters: Any) -> tuple[str, ...]:
    """Name the types of parameters; without the values."""
    if parameters is None:
        return ()
    values = parameters.values() if isinstance(parameters, Mapping) else parameters
    return tuple(type(one).__name__ for one in values)


def _caller() -> tuple[str, int] | None:
    """Return the file and the line of the application that is nearest to the driver."""
    for frame in _frames():
        name = frame.f_code.co_filename
        if not name.startswith("<") and not any(one in name for one in _LIBRARIES):
            return name, frame.f_lineno
    return None


def _frames() -> Iterator[Any]:
    frame = sys._getframe(3)  # noqa: SLF001 - the way that logging and warnings take
    for _ in range(FRAMES):
        if frame is None:
            return
        yield frame
        frame = frame.f_back  # type: ignore[assignment]  # it is None at the end


def _short(name: str) -> str:
    here = os.getcwd() + os.sep  # noqa: PTH109 - a prefix
    return name.removeprefix(here)


def _moment(seconds: float) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(seconds))


def _row(one: _Seen) -> dict[str, Any]:
    marks, *types = one.types
    return {
        "sql": one.text,
        "marks": marks,
        "parameters": types,
        "calls": one.calls,
        "first_seen": _moment(one.first),
        "last_seen": _moment(one.last),
        "where": one.where,
    }
