"""Turns an intent into a process, through a shell of four lines that claims the instance and then becomes the command.

The shell writes its own line of `/proc/<pid>/stat` to the claim file (exclusively: `set -C`), so pid and start time
are on disk before the command runs, whatever happens to the controller meanwhile. `exec` keeps pid and start time.
"""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import signal
import stat
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from hitless.adapters.processes.identity import MARK
from hitless.adapters.processes.records import InstanceRecord
from hitless.rollout.spec import RunSpec, Version

_CLAIM_THEN_BECOME = """\
set -C
read -r stat <"/proc/$$/stat" && printf '%s\\n' "$stat" >"$1" && cd -- "$2" || exit 126
set +C; shift 2
exec "$@"
"""

_PLACEHOLDER = re.compile(r"(?<!\$)\{([a-z_]+)\}")  # ${name} is the shell's
_SHELL_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")

_SHEBANG_LIMIT = 256  # the kernel reads no more

# Python ignores the first two, a caller such as nohup others; what is ignored stays ignored across exec.
_DEFAULT_SIGNALS = (
    signal.SIGPIPE,
    signal.SIGXFSZ,
    signal.SIGINT,
    signal.SIGTERM,
    signal.SIGHUP,
    signal.SIGQUIT,
    signal.SIGCHLD,
)


class LaunchError(Exception):
    """An instance cannot be started; its text becomes the cause of the failed instance, it is told in no other way."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Launch:
    """Everything that a spawn needs, checked as far as it can be before."""

    command: tuple[str, ...]
    directory: Path
    environment: Mapping[str, str]


def plan_launch(run: RunSpec, *, record: InstanceRecord, project: Path, inherited: Mapping[str, str]) -> Launch:
    """Fill in the placeholders and look whether the command can be run.

    Args:
        run: what the user wrote.
        record: the instance.
        project: directories in `run` are relative to it.
        inherited: the environment that the instance's own is laid upon.

    Raises:
        LaunchError: a placeholder, the directory or the executable does not exist.
    """
    values = {"port": str(record.port), "version": record.version, "instance": record.id}
    environment = {
        **inherited,
        **{name: fill(text, values) for name, text in run.environment.items()},
        "PORT": values["port"],
        "HITLESS_VERSION": record.version,
        "HITLESS_INSTANCE": record.id,
        "HITLESS_SERVICE": record.service,
        MARK: record.incarnation,
    }
    directory = (project / fill(run.directory, values)).absolute()
    command = tuple(fill(word, values) for word in run.command)
    _require_directory(directory)
    _require_executable(command, directory, environment.get("PATH", os.defpath))
    return Launch(command=command, directory=directory, environment=environment)


def check_command(run: RunSpec, *, version: Version, project: Path, inherited: Mapping[str, str]) -> None:
    """Look whether an instance of a version could be started.

    Raises:
        LaunchError: a placeholder, the directory or the executable does not exist.
    """
    values = {"port": "0", "version": version, "instance": "0"}
    directory = (project / fill(run.directory, values)).absolute()
    path = fill(run.environment.get("PATH", inherited.get("PATH", os.defpath)), values)
    _require_directory(directory)
    _require_executable(tuple(fill(word, values) for word in run.command), directory, path)


def fill(text: str, values: Mapping[str, str]) -> str:
    """Replace `{name}` by its value.

    Raises:
        LaunchError: the name is unknown.
    """

    def value(match: re.Match[str]) -> str:
        if match[1] not in values:
            known = ", ".join(f"{{{name}}}" for name in values)
            raise LaunchError(f"unknown placeholder {match[0]} in {text!r}; known are {known}")
        return values[match[1]]

    return _PLACEHOLDER.sub(value, text)


def spawn(launch: Launch, *, claim: Path, log: Path) -> int:
    """Start the process in a session of its own and return its pid, which is its group's and its session's too.

    Args:
        launch: what to run.
        claim: the file that the process creates before it becomes the command; if it exists, the process ends.
        log: standard output and error are appended here.
    """
    log.parent.mkdir(parents=True, exist_ok=True)
    return os.posix_spawn(
        "/bin/sh",
        ["/bin/sh", "-c", _CLAIM_THEN_BECOME, "hitless", str(claim.absolute()), str(launch.directory), *_words(launch)],
        launch.environment,
        file_actions=[
            (os.POSIX_SPAWN_OPEN, 0, "/dev/null", os.O_RDONLY, 0),
            (os.POSIX_SPAWN_OPEN, 1, str(log), os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o640),
            (os.POSIX_SPAWN_DUP2, 1, 2),
            *((os.POSIX_SPAWN_CLOSE, descriptor) for descriptor in _inheritable_descriptors()),
        ],
        setsid=True,
        setsigmask=(),
        setsigdef=_DEFAULT_SIGNALS,
    )


def _words(launch: Launch) -> tuple[str, ...]:
    # dash drops variables that are no shell names (spring.profiles.active), so env(1) sets them again behind it
    foreign = tuple(f"{name}={text}" for name, text in launch.environment.items() if not _SHELL_NAME.fullmatch(name))
    return ("env", *foreign, *launch.command) if foreign else launch.command


def _inheritable_descriptors() -> Iterator[int]:
    # whoever started the controller may have left some open (a pipe, a lock); an instance must not keep them for years
    for name in os.listdir("/proc/self/fd"):  # noqa: PTH208 - numbers, not paths
        descriptor = int(name)
        try:
            if descriptor > 2 and os.get_inheritable(descriptor):  # noqa: PLR2004 - 0, 1 and 2 are replaced above
                yield descriptor
        except OSError:  # the listing's own descriptor, closed by now
            continue


def _require_directory(directory: Path) -> None:
    try:
        is_there = stat.S_ISDIR(directory.stat().st_mode)
    except (FileNotFoundError, NotADirectoryError):
        is_there = False
    except PermissionError as fault:
        raise LaunchError(f"permission denied: {directory} may not be looked at by {_who()}") from fault
    if not is_there:
        raise LaunchError(f"directory missing: {directory}")
    if not os.access(directory, os.X_OK):
        raise LaunchError(f"permission denied: {directory} may not be entered by {_who()}")


def _require_executable(command: tuple[str, ...], directory: Path, search: str) -> None:
    if not command:
        raise LaunchError("the command is empty")
    name = command[0]
    if "/" in name:
        path = directory / name
        if not (path.is_file() and os.access(path, os.X_OK)):
            raise LaunchError(
                f"executable missing: {path} {'may not be executed' if path.exists() else 'does not exist'}"
            )
        _require_interpreter(path)
    elif (found := shutil.which(name, path=search)) is None:
        raise LaunchError(f"executable missing: {name} is in none of PATH={search}")
    else:
        _require_interpreter(directory / found)


def _require_interpreter(script: Path) -> None:
    # the kernel's own words for it are "No such file or directory", which sends people looking for the script
    with contextlib.suppress(PermissionError), script.open("rb") as file:  # may be executed and not read: no script
        first = file.readline(_SHEBANG_LIMIT).decode(errors="replace")
        words = first.removeprefix("#!").rstrip("\n").strip(" \t").split(" ") if first.startswith("#!") else []
        if words and not Path(words[0]).exists():
            raise LaunchError(f"interpreter missing: {words[0]!r}, as the first line of {script} says")


def _who() -> str:
    return f"uid {os.geteuid()}"
