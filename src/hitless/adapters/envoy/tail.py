"""Following a log that is written by others, set aside by others, and may be emptied: no line lost, none twice.

Rules: what is open is followed to its end whatever it is called by now; a new file under the name is read from its
beginning, after the one before. The one that was set aside is followed on, because an Envoy that was replaced writes to
it until it ends. One that was deleted is let go after a minute without a word, so that its space comes free.
"""

from __future__ import annotations

import os
import time
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

_CHUNK_BYTES = 256 * 1024
_LONGEST_LINE_BYTES = 1024 * 1024
_LETS_GO_AFTER_S = 60.0


@dataclass(slots=True)
class _File:
    descriptor: int
    inode: int
    rest: bytes = b""
    is_at_end: bool = False
    begins_within_line: bool = False
    heard_at_s: float = field(default_factory=time.monotonic)


class LogTail:
    """One log and what was set aside of it. Calls block, on the disk alone.

    Args:
        path: the log's name; it is opened by the first `read`.
        at_end: begin with the first line that is written from then on, not with the first one that is there.

    Attributes:
        problem: what was not read, since the last call of `read`, for people.
    """

    def __init__(self, path: Path, *, at_end: bool) -> None:
        self.problem: str | None = None
        self._begins_at_end = at_end
        self._could_not_open = False
        self._path = path
        self._aside = path.with_name(f"{path.name}.1")
        self._files: list[_File] = []

    def close(self) -> None:
        """Let go of the files."""
        for one in self._files:
            os.close(one.descriptor)
        self._files.clear()

    @property
    def is_at_end(self) -> bool:
        """Whether the last `read` came to the end of everything."""
        return all(one.is_at_end for one in self._files)

    def skip(self) -> None:
        """Go to the end without reading."""
        for one in self._files:
            _go_to_end(one)

    def read(self, *, most_bytes: int) -> list[bytes]:
        """Read whole lines, about so many bytes of them at most.

        Raises:
            OSError: it cannot be read.
        """
        self.problem = None
        if not self._files:
            self._open()
        self._follow()
        lines: list[bytes] = []
        for one in tuple(self._files):
            one.is_at_end = False
            while most_bytes > 0:
                chunk = self._chunk(one)
                if not chunk:
                    break
                most_bytes -= len(chunk)
                lines += _lines(one, chunk)
            self._let_go(one)
        return lines

    def _open(self) -> None:
        opened: list[_File] = []
        try:
            if self._begins_at_end:
                with suppress(FileNotFoundError):
                    opened.append(_open(self._aside, at_end=True))
            opened.append(_open(self._path, at_end=self._begins_at_end))
        except OSError:
            self._could_not_open = True
            for one in opened:
                os.close(one.descriptor)
            raise
        if self._could_not_open and self._begins_at_end:
            self.problem = "its log could not be opened before"  # what was written since is not read
        self._files = opened

    def _chunk(self, one: _File) -> bytes:
        chunk = os.read(one.descriptor, _CHUNK_BYTES)
        one.is_at_end = not chunk
        if chunk:
            one.heard_at_s = time.monotonic()
        elif os.fstat(one.descriptor).st_size < _position(one):
            self.problem = "its log was cut off by somebody"
            os.lseek(one.descriptor, 0, os.SEEK_SET)
            one.rest = b""
        if len(one.rest) > _LONGEST_LINE_BYTES:
            self.problem = "a line of its log has no end"
            one.rest = b""
        return chunk

    def _follow(self) -> None:
        """Open what has appeared under the name, and what was set aside meanwhile and never seen."""
        known = {one.inode for one in self._files}
        if _inode(self._path) in {None, *known}:
            return
        for path in (self._aside, self._path):
            if _inode(path) not in {None, *known}:
                with suppress(FileNotFoundError):  # set aside in this very moment: the next look finds it
                    self._files.append(_open(path, at_end=False))

    def _let_go(self, one: _File) -> None:
        is_newest = one is self._files[-1]
        is_silent = time.monotonic() > one.heard_at_s + _LETS_GO_AFTER_S
        if not is_newest and is_silent and os.fstat(one.descriptor).st_nlink == 0:
            os.close(one.descriptor)
            self._files.remove(one)


def _open(path: Path, *, at_end: bool) -> _File:
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    found = _File(descriptor, os.fstat(descriptor).st_ino)
    if at_end:
        _go_to_end(found)
    return found


def _go_to_end(one: _File) -> None:
    end = os.lseek(one.descriptor, 0, os.SEEK_END)
    one.rest = b""
    one.begins_within_line = end > 0 and os.pread(one.descriptor, 1, end - 1) != b"\n"


def _lines(one: _File, chunk: bytes) -> list[bytes]:
    *lines, rest = (one.rest + chunk).split(b"\n")
    one.rest = rest
    if one.begins_within_line and lines:
        one.begins_within_line = False
        del lines[0]
    return [line for line in lines if line]


def _inode(path: Path) -> int | None:
    try:
        return path.stat().st_ino
    except FileNotFoundError:
        return None


def _position(one: _File) -> int:
    return os.lseek(one.descriptor, 0, os.SEEK_CUR)
