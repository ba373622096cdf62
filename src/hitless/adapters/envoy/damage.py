"""What somebody else changed, deleted or damaged among Envoy's files is written again as it was.

Envoy keeps what it took last, so nobody notices at once; but its next start would find what lies there. Of every file
there is a copy of what was written last (see `files`); a file that is not like its copy is restored.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from hitless.adapters.envoy.files import exclusive, keep, kept_copy, write_whole
from hitless.adapters.envoy.layout import FOLDERS, KEPT, Layout

_Signatures = dict[str, tuple[int, int, int]]
"""By path, what changes with every write: inode, size and time of change."""


class Damage:
    """Looks at one region's files."""

    def __init__(self, layout: Layout) -> None:
        self._layout = layout
        self._known: _Signatures | None = None

    def restore(self) -> tuple[str, ...]:
        """Write again what is not as it was left; return what was found, for people. Blocks."""
        changed = self._changed()
        if not changed:
            return ()
        with exclusive(self._layout.root):
            found = [words for path in changed for words in self._restore(path)]
            self._known = _signatures(self._layout)
        return tuple(found)

    def _changed(self) -> list[Path]:
        """List files that were written or deleted since the last look, by ourselves as well; at first all."""
        known, now = self._known, _signatures(self._layout)
        if known is None:
            return list(self._layout.written_files())
        lost = (
            path for path in _kept(self._layout) if path not in now
        )  # also one that came and went between two looks
        return [Path(path) for path in sorted({*known, *now, *lost}) if path not in now or known.get(path) != now[path]]

    def _restore(self, path: Path) -> Iterator[str]:
        wanted, _ = _read(kept_copy(self._layout.root, path))
        present, reason = _read(path)
        if wanted is None and present is not None:  # of an earlier release, or torn by a loss of power
            keep(self._layout.root, path, present)
        elif wanted is not None and present != wanted:
            write_whole(path, wanted)
            yield f"{path} {reason or 'was changed by somebody else'}; it is as it was again"


def _read(path: Path) -> tuple[bytes | None, str | None]:
    """Read a whole document, or say why there is none."""
    try:
        data = path.read_bytes()
        json.loads(data)
    except OSError as error:
        return None, f"could not be read ({error.strerror})"
    except ValueError as error:
        return None, f"was damaged ({error})"
    return data, None


def _signatures(layout: Layout) -> _Signatures:
    """Look at every file; asked every second, and a third of a millisecond for a hundred."""
    found: _Signatures = {}
    for folder in FOLDERS:
        with os.scandir(layout.root / folder) as entries:
            for entry in entries:
                if entry.name.endswith(".json") and not entry.name.startswith("."):
                    _add(found, entry.path)
    for path in (layout.listeners, layout.clusters):
        _add(found, str(path))
    return found


def _kept(layout: Layout) -> Iterator[str]:
    for folder in FOLDERS:
        with suppress(FileNotFoundError), os.scandir(layout.root / KEPT / folder) as entries:
            yield from (f"{layout.root}/{folder}/{entry.name}" for entry in entries if not entry.name.startswith("."))


def _add(found: _Signatures, path: str) -> None:
    with suppress(FileNotFoundError):  # it is missing then, which is seen as well
        seen = os.lstat(path)
        found[path] = (seen.st_ino, seen.st_size, seen.st_ctime_ns)
