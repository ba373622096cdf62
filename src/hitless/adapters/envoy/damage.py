"""What somebody else changed, deleted or damaged among Envoy's files is written again as it was.

Envoy keeps what it took last, so nobody notices at once; but its next start would find what lies there. Of every file
there is a copy of what was written last (see `files`); a file that is not like its copy is restored.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

from hitless.adapters.envoy.files import exclusive, keep, kept_copy, write_whole
from hitless.adapters.envoy.layout import Layout

_Signature = tuple[int, int, int] | None


class Damage:
    """Looks at one region's files."""

    def __init__(self, layout: Layout) -> None:
        self._layout = layout
        self._known: dict[Path, _Signature] = {}

    def restore(self) -> tuple[str, ...]:
        """Write again what is not as it was left; return what was found, for people. Blocks."""
        paths = list(self._layout.written_files())
        if all(path in self._known and _signature(path) == self._known[path] for path in paths):
            return ()
        with exclusive(self._layout.root):
            found = [words for path in paths for words in self._restore(path)]
        return tuple(found)

    def _restore(self, path: Path) -> Iterator[str]:
        wanted, trouble = _read(kept_copy(self._layout.root, path))[0], None
        present, reason = _read(path)
        if wanted is None and present is not None:  # of an earlier release, or torn by a loss of power
            keep(self._layout.root, path, present)
        elif wanted is not None and present != wanted:
            write_whole(path, wanted)
            trouble = f"{path} {reason or 'was changed by somebody else'}; it is as it was again"
        self._known[path] = _signature(path)
        if trouble:
            yield trouble


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


def _signature(path: Path) -> _Signature:
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_ino, found.st_size, found.st_ctime_ns
