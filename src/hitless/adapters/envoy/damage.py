"""What somebody else changed, deleted or damaged among Envoy's files is written again as it was meant to be.

Envoy keeps what it took last, so nobody notices at once; but its next start would find what lies there. Of every file
there is a copy of what was written last (see `files`); a file that is not like its copy is restored,
be it that its own write failed. A copy that is lost or damaged is made anew.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from hitless.adapters.envoy.files import exclusive, keep, kept_copy, write_whole
from hitless.adapters.envoy.layout import FILES, FOLDERS, KEPT, Layout

_Signature = tuple[int, int, int]
"""What changes with every write: inode, size and time of change."""
_Signatures = dict[str, tuple[_Signature | None, _Signature | None]]
"""Of a file and its copy, by the file's place in the directory; None: it is missing."""


class Damage:
    """Looks at one region's files."""

    def __init__(self, layout: Layout) -> None:
        self._layout = layout
        self._known: _Signatures = {}

    def restore(self) -> tuple[str, ...]:
        """Write again what is not as it was left; return what was found, for people. Blocks."""
        self._layout.make_folders()
        changed = self._changed()
        if not changed:
            return ()
        with exclusive(self._layout.root):
            found = [words for path in changed for words in self._restore(path)]
            self._known = _signatures(self._layout.root)
        return tuple(found)

    def _changed(self) -> list[Path]:
        """List files that, or whose copies, were written since the last look, by ourselves as well, or are missing."""
        known, now = self._known, _signatures(self._layout.root)
        return [self._layout.root / name for name in sorted(now) if None in now[name] or known.get(name) != now[name]]

    def _restore(self, path: Path) -> Iterator[str]:
        wanted, _ = _read(kept_copy(self._layout.root, path))
        present, reason = _read(path)
        if wanted is None and present is not None:  # of an earlier release, or torn by a loss of power
            keep(self._layout.root, path, present)
        elif wanted is not None and present != wanted:
            write_whole(path, wanted)
            yield f"{path} {reason or 'was not what was written there last'}; it is restored"


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


def _signatures(root: Path) -> _Signatures:
    files, copies = _seen(root), _seen(root / KEPT)
    return {name: (files.get(name), copies.get(name)) for name in {*files, *copies}}


def _seen(root: Path) -> dict[str, _Signature]:
    """Look at every file; asked every second, and a third of a millisecond for a hundred."""
    found: dict[str, _Signature] = {}
    for folder in FOLDERS:
        with suppress(FileNotFoundError), os.scandir(root / folder) as entries:
            for entry in entries:
                if entry.name.endswith(".json") and not entry.name.startswith("."):
                    _add(found, root, f"{folder}/{entry.name}")
    for name in FILES:
        _add(found, root, name)
    return found


def _add(found: dict[str, _Signature], root: Path, name: str) -> None:
    with suppress(FileNotFoundError):  # it is missing then, which is seen as well
        seen = os.lstat(f"{root}/{name}")
        found[name] = (seen.st_ino, seen.st_size, seen.st_ctime_ns)
