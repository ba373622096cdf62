"""What the kernel knows of an instance that does not answer, as evidence for people.

Searches `/proc`, so it is asked when something has happened and never in every round of probes. What cannot be read
(another user's processes) is passed over: nothing is concluded from silence.
"""

from __future__ import annotations

import contextlib
import resource
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from hitless.adapters.processes.identity import ProcessIdentity, ProcessTree, all_processes, mark_of, read_stat

_LISTEN = "0A"  # include/net/tcp_states.h
_STOPPED = "T"
_SPARE_DESCRIPTORS = 1  # the one that the failing call wanted
_NAMED_SURVIVORS = 3
_WORDS_LIMIT = 60


@dataclass(frozen=True, slots=True, kw_only=True)
class Stranger:
    """A process that listens on an instance's port and is not the instance's; `pid` is None if it may not be seen."""

    port: int
    pid: int | None

    def __str__(self) -> str:
        """Say who has which port."""
        who = "another user's" if self.pid is None else f"{_words(self.pid)} (pid {self.pid})"
        return f"port {self.port} was taken by another program: {who}"


def stranger_on(port: int, tree: ProcessTree, *, is_certain: bool = False) -> Stranger | None:
    """Find who listens on the instance's port in its place.

    A process is a stranger only for certain: it carries another instance's mark, or it ran before the instance did.
    What started later and carries no mark may be the instance's own helper (a container's port forwarder).

    Args:
        port: the instance's.
        tree: the instance's processes.
        is_certain: whoever listens is a stranger, because the instance has failed to.
    """
    sockets = _listening_sockets(port)
    if not sockets or (tree.main is not None and sockets & _sockets_of(tree.main.pid)):
        return None
    holders = {one.identity for one in all_processes() if sockets & _sockets_of(one.identity.pid)}
    if holders & set(tree.running()):
        return None
    if is_certain and not holders:  # its owner's descriptors may not be read
        return Stranger(port=port, pid=None)
    strangers = sorted(one.pid for one in holders if is_certain or _is_foreign(one, tree))
    return Stranger(port=port, pid=strangers[0]) if strangers else None


def symptoms(port: int, tree: ProcessTree) -> str:
    """Say what is wrong with the instance's processes, as far as the kernel shows it; empty when nothing is."""
    found = [fact for process in tree.running() for fact in _facts(process.pid)]
    if not _listening_sockets(port):
        found.append(f"nothing listens on port {port}")
    return "; ".join(dict.fromkeys(found))


def survivors(tree: ProcessTree) -> str:
    """Name the instance's processes that live on without its main process; empty when there are none."""
    left = [one for one in tree.running() if one != tree.main]
    names = ", ".join(f"{_words(one.pid)} (pid {one.pid})" for one in left[:_NAMED_SURVIVORS])
    return names if len(left) <= _NAMED_SURVIVORS else f"{names} and {len(left) - _NAMED_SURVIVORS} more"


def _is_foreign(process: ProcessIdentity, tree: ProcessTree) -> bool:
    mark = mark_of(process.pid)
    if mark is not None:
        return mark != tree.mark
    return tree.main is not None and process.start_ticks < tree.main.start_ticks


def _facts(pid: int) -> Iterator[str]:
    stat = read_stat(pid)
    if stat is not None and stat.state == _STOPPED:
        yield f"pid {pid} is stopped by a signal (such as SIGSTOP)"
    with contextlib.suppress(OSError):
        limit, _ = resource.prlimit(pid, resource.RLIMIT_NOFILE)
        opened = len(_descriptors(pid))
        if 0 < limit <= opened + _SPARE_DESCRIPTORS:
            yield f"pid {pid} has {opened} of {limit} descriptors open"


def _listening_sockets(port: int) -> frozenset[str]:
    return frozenset(socket for table in ("tcp", "tcp6") for socket in _listening_in(Path("/proc/net") / table, port))


def _listening_in(table: Path, port: int) -> Iterator[str]:
    # proc(5): local address is field 2 in hexadecimal, state field 4, inode field 10
    with contextlib.suppress(FileNotFoundError):  # a kernel without IPv6
        for line in table.read_text(encoding="ascii").splitlines()[1:]:
            fields = line.split()
            if fields[3] == _LISTEN and int(fields[1].rpartition(":")[2], 16) == port:
                yield f"socket:[{fields[9]}]"


def _sockets_of(pid: int) -> set[str]:
    return {target for target in _descriptors(pid) if target.startswith("socket:")}


def _descriptors(pid: int) -> list[str]:
    found: list[str] = []
    with contextlib.suppress(OSError):  # another user's, or it has ended
        for entry in Path(f"/proc/{pid}/fd").iterdir():
            with contextlib.suppress(OSError):  # closed meanwhile
                found.append(str(entry.readlink()))
    return found


def _words(pid: int) -> str:
    with contextlib.suppress(OSError):
        words = Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace").strip()
        if words:
            return words if len(words) <= _WORDS_LIMIT else f"{words[: _WORDS_LIMIT - 1]}…"
    return "a process"
