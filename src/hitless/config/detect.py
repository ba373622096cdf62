"""A guess at what a directory holds and how it is started, for `hitless init`: a proposal to be edited, never run."""

from __future__ import annotations

import json
import re
import shlex
import tomllib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from hitless.config.values import BadValueError, read_command

_NAME = re.compile(r"[a-z][a-z0-9-]{0,39}")
_PORT_VARIABLE = re.compile(r"\$(?:\{PORT(?::-[0-9]+)?\}|PORT\b)")
_WEB_PROCESS = re.compile(r"^web:\s*(\S.*)$", re.MULTILINE)
_LARGEST_FILE = 1024 * 1024  # bytes
_FALLBACK_NAME = "app"


@dataclass(frozen=True, slots=True, kw_only=True)
class Guess:
    """What `hitless init` proposes.

    Attributes:
        name: of the service.
        command: None when nothing known was found.
        because: the file that led to it.
    """

    name: str
    command: tuple[str, ...] | None = None
    because: str | None = None


def detect(directory: Path) -> Guess:
    """Guess name and command of the service in `directory`; what cannot be read counts as not there."""
    name = _service_name(directory)
    for file_name, find in _FINDERS.items():
        text = _text(directory / file_name)
        command = find(text, directory) if text is not None else None
        if command:
            return Guess(name=name, command=command, because=file_name)
    return Guess(name=name)


def _service_name(directory: Path) -> str:
    name = re.sub(r"[^a-z0-9]+", "-", directory.absolute().name.lower()).strip("-")[:40].strip("-")
    return name if _NAME.fullmatch(name) else _FALLBACK_NAME


def _text(path: Path) -> str | None:
    try:
        return path.read_text("utf-8") if path.is_file() and path.stat().st_size <= _LARGEST_FILE else None
    except (OSError, UnicodeDecodeError):  # the documented contract: as if it were not there
        return None


def _from_procfile(text: str, directory: Path) -> tuple[str, ...] | None:  # noqa: ARG001 - one signature for all
    line = _WEB_PROCESS.search(text)
    return _words(line[1]) if line else None


def _from_package_json(text: str, directory: Path) -> tuple[str, ...] | None:  # noqa: ARG001 - one signature for all
    """Take `node ...` itself where it can be had: npm in between would hold back SIGTERM."""
    try:
        package = json.loads(text)
    except ValueError:
        return None
    scripts = package.get("scripts") if isinstance(package, dict) else None
    start = scripts.get("start") if isinstance(scripts, dict) else None
    if isinstance(start, str) and start.startswith("node ") and not re.search(r"[;&|<>]", start):
        return _words(start)
    if isinstance(start, str):
        return ("npm", "start")
    main = package.get("main") if isinstance(package, dict) else None
    return ("node", main) if isinstance(main, str) and main else None


def _from_manage_py(text: str, directory: Path) -> tuple[str, ...] | None:
    module = next((path.parent.name for path in sorted(directory.glob("*/wsgi.py"))), None)
    if module:
        return ("gunicorn", "--bind", "127.0.0.1:{port}", f"{module}.wsgi")
    is_django = "django" in text
    return ("python", "manage.py", "runserver", "--noreload", "127.0.0.1:{port}") if is_django else None


def _from_pyproject(text: str, directory: Path) -> tuple[str, ...] | None:  # noqa: ARG001 - one signature for all
    try:
        project = tomllib.loads(text).get("project", {})
    except tomllib.TOMLDecodeError:
        return None
    scripts = project.get("scripts") if isinstance(project, dict) else None
    return (next(iter(scripts)),) if isinstance(scripts, dict) and scripts else None


def _from_module(module: str) -> Callable[[str, Path], tuple[str, ...] | None]:
    def find(text: str, directory: Path) -> tuple[str, ...] | None:  # noqa: ARG001 - one signature for all
        app = re.search(r"^(\w+)\s*(?::[^=\n]+)?=\s*(FastAPI|Starlette|Flask|Quart)\(", text, re.MULTILINE)
        if not app:
            return ("python", f"{module}.py")
        if app[2] == "Flask":
            return ("gunicorn", "--bind", "127.0.0.1:{port}", f"{module}:{app[1]}")
        return ("uvicorn", f"{module}:{app[1]}", "--port", "{port}")

    return find


def _words(line: str) -> tuple[str, ...] | None:
    try:
        return read_command(shlex.join(shlex.split(_PORT_VARIABLE.sub("{port}", line))))
    except (BadValueError, ValueError):  # an open quote: no guess
        return None


_FINDERS: dict[str, Callable[[str, Path], tuple[str, ...] | None]] = {
    "Procfile": _from_procfile,
    "package.json": _from_package_json,
    "manage.py": _from_manage_py,
    "app.py": _from_module("app"),
    "main.py": _from_module("main"),
    "server.py": _from_module("server"),
    "pyproject.toml": _from_pyproject,
}
"""By file name, the surest sign first."""
