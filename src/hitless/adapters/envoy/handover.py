"""What a handover from one Envoy to the next needs from us, because Envoy's own does not forgive.

Theory. A newcomer (epoch N+1) asks its parent (epoch N) over an abstract datagram socket for its listening sockets, for
the end of its admin interface and, `--parent-shutdown-time-s` later, for its end. As measured with Envoy 1.36 to 1.40:

* A parent that has died answers nobody. The newcomer blocks for ten seconds at its next message, then aborts, hours
  after the death if that message is "end". So whenever the parent has died before its time, somebody stands in for it:
  a datagram socket under its name takes the message, and no answer is needed. It is open in a `sleep` that outlives us;
  whoever wants the name finds that process by the name.
* A newcomer that fails leaves "still initialising" set in the shared memory, and from then on every other newcomer
  refuses to start. Nobody but us can tell that it is gone: we clear the mark.
* When a newcomer starts, its parent ends the grandparent at once, with every stream it still has. Three generations
  share three socket names.

What else to touch: `Launch.command_line` keeps newcomers from asking for the parent's counters every second.
"""

from __future__ import annotations

import contextlib
import signal
import socket
import struct
import time
from pathlib import Path

import psutil

from hitless.adapters.envoy.identity import Identity, spawn_orphan

GENERATIONS = 3  # Envoy's HotRestartingBase: MaxConcurrentProcesses
_NAME_LENGTH = 108  # Envoy names its sockets by all of sun_path, zeros included
_HOLDER = "sleep"
_ENDS_WITHIN_S = 1.0
_POLL_S = 0.002
_SHARED = Path("/dev/shm")  # noqa: S108 - Envoy's own place, not a temporary file of ours
_HEAD = struct.Struct("<QQ")  # size, version
_FLAGS = struct.Struct("<Q")
_FLAGS_AT = 96  # behind size, version and two pthread mutexes of 40 bytes
_SIGN = 2**31
_WRAPPED = 2**64 - 2**32
_KNOWN = (104, 11)  # what `--hot-restart-version` calls 11.104: version, and size of this very layout


def stand_in(*, base_id: int, epoch: int, for_s: int, log: Path) -> None:
    """Have the name of `epoch` held from now on, by a process of its own: the control plane may end before the message.

    Nothing happens while somebody has it: that Envoy itself, or one who stands in already.
    """
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as holder:
        if _takes(holder, _name(base_id, epoch)):
            spawn_orphan([_HOLDER, str(for_s)], log, inherited=(holder.fileno(),))


def free_name(*, base_id: int, epoch: int) -> None:
    """Take a name that a later generation wants from whoever stands in under it."""
    name = _name(base_id, epoch)
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as probe:
        if _takes(probe, name):
            return
    for found in psutil.net_connections(kind="unix"):
        if found.pid and str(found.laddr).rstrip("@") == f"@{name}":
            _end_holder(found.pid)


def _end_holder(pid: int) -> None:
    holder = Identity.of(pid)
    if holder is None or holder.arguments()[:1] != (_HOLDER,):
        return
    holder.send(signal.SIGKILL)
    deadline = time.monotonic() + _ENDS_WITHIN_S
    while holder.is_alive() and time.monotonic() < deadline:
        time.sleep(_POLL_S)


def _name(base_id: int, epoch: int) -> str:
    return f"envoy_domain_socket_parent_{_as_printed(base_id * 10) + epoch % GENERATIONS}"


def _takes(holder: socket.socket, name: str) -> bool:
    try:
        holder.bind(f"\0{name}".ljust(_NAME_LENGTH, "\0"))
    except OSError:
        return False
    return True


def forget_failed_newcomer(base_id: int) -> None:
    """Clear the mark that a newcomer is initialising; only for when none lives.

    A layout that is not known is left alone: the next newcomer says then why it does not start.
    """
    with contextlib.suppress(FileNotFoundError), _shared_memory(base_id).open("r+b") as shared:
        if _HEAD.unpack(shared.read(_HEAD.size)) == _KNOWN:
            shared.seek(_FLAGS_AT)
            shared.write(_FLAGS.pack(0))


def remove_shared_memory(base_id: int) -> None:
    """Remove what Envoy leaves behind whenever it ends."""
    _shared_memory(base_id).unlink(missing_ok=True)


def _shared_memory(base_id: int) -> Path:
    return _SHARED / f"envoy_shared_memory_{base_id * 10}"


def _as_printed(number: int) -> int:
    """Extend the sign of 32 bits to 64, as Envoy does on the way from its option to its sockets' names."""
    return number + _WRAPPED if number >= _SIGN else number
