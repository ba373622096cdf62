"""What a handover from one Envoy to the next needs from us, because Envoy's own does not forgive.

Theory. A newcomer (epoch N+1) asks its parent (epoch N) over an abstract datagram socket for its listening sockets, for
the end of its admin interface and, `--parent-shutdown-time-s` later, for its end. As measured with Envoy 1.36 to 1.40:

* A parent that has died answers nobody. The newcomer blocks for ten seconds at its next message, then aborts, hours
  after the death if that message is "end". So whenever the parent has died before its time, we stand in for it: a
  datagram socket under its name, which takes the message. No answer is needed.
* A newcomer that fails leaves "still initialising" set in the shared memory, and from then on every other newcomer
  refuses to start. Nobody but us can tell that it is gone: we clear the mark.
* When a newcomer starts, its parent ends the grandparent at once, with every stream it still has. Three generations
  share three socket names.

What else to touch: `Launch.command_line` keeps newcomers from asking for the parent's counters every second.
"""

from __future__ import annotations

import contextlib
import socket
import struct
from pathlib import Path

_GENERATIONS = 3  # Envoy's HotRestartingBase: MaxConcurrentProcesses
_NAME_LENGTH = 108  # Envoy names its sockets by all of sun_path, zeros included
_SHARED = Path("/dev/shm")  # noqa: S108 - Envoy's own place, not a temporary file of ours
_HEAD = struct.Struct("<QQ")  # size, version
_FLAGS = struct.Struct("<Q")
_FLAGS_AT = 96  # behind size, version and two pthread mutexes of 40 bytes
_SIGN = 2**31
_WRAPPED = 2**64 - 2**32
_KNOWN = (104, 11)  # what `--hot-restart-version` calls 11.104: version, and size of this very layout


class StandIn:
    """Holds the name of a parent that has died."""

    def __init__(self) -> None:
        self._socket: socket.socket | None = None
        self._name = ""

    def hold(self, *, base_id: int, epoch: int) -> None:
        """Take the name of the parent of `epoch`, unless somebody has it: the parent itself, or another controller."""
        name = f"\0envoy_domain_socket_parent_{_as_printed(base_id * 10) + (epoch - 1) % _GENERATIONS}"
        if self._name == name:
            return
        self.release()
        holder = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        try:
            holder.bind(name.ljust(_NAME_LENGTH, "\0"))
        except OSError:  # tried again at the next look
            holder.close()
            return
        self._socket, self._name = holder, name

    def release(self) -> None:
        """Let go of the name: a later generation will want it."""
        if self._socket is not None:
            self._socket.close()
        self._socket, self._name = None, ""


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
