"""What can be wrong with the store, told to a user. Every message names the file; every hint can be pasted."""

from __future__ import annotations

from pathlib import Path
from shlex import quote
from typing import ClassVar

from hitless.errors import EnvironmentFault, Refused


class StoreFault(EnvironmentFault):
    """The store cannot be used."""

    code = "HL6300"
    temporary: ClassVar[bool] = False

    def __init__(self, path: Path, cause: str) -> None:
        super().__init__(f"{self.summary(path)}: {cause}", evidence=(f"store: {path}",), hints=self.ways_on(path))

    @classmethod
    def summary(cls, path: Path) -> str:
        """Say in half a sentence what is wrong; the cause follows it."""
        return f"the store {path} cannot be used"

    @classmethod
    def ways_on(cls, path: Path) -> tuple[str, ...]:
        """Return the commands that help."""
        return (
            f"look at the file and its directory: ls -la {quote(str(path.parent))}",
            "look at all that the store needs: hitless doctor --only store,file-system,disk-space",
        )


class StoreLocked(StoreFault):
    """Another process keeps the store locked for longer than hitless waits."""

    code = "HL6301"
    temporary: ClassVar[bool] = True

    @classmethod
    def summary(cls, path: Path) -> str:
        """Say what is wrong."""
        return f"another process keeps the store {path} locked"

    @classmethod
    def ways_on(cls, path: Path) -> tuple[str, ...]:
        """Return the commands that help."""
        return (f"see who has it open: fuser -v {quote(str(path))}", "end that process, or wait: hitless tries again")


class StoreReadOnly(StoreFault):
    """The store cannot be written to."""

    code = "HL6302"

    @classmethod
    def summary(cls, path: Path) -> str:
        """Say what is wrong."""
        return f"the store {path} cannot be written to"

    @classmethod
    def ways_on(cls, path: Path) -> tuple[str, ...]:
        """Return the commands that help."""
        directory = quote(str(path.parent))
        return (
            f"see who owns it: ls -la {directory}",
            f"see whether the file system is mounted read-only: findmnt -T {directory}",
            f"give it to the user that runs hitless: sudo chown -R $USER {directory}",
        )


class DiskFull(StoreFault):
    """The store's file system has no space left; nothing was written."""

    code = "HL6303"
    temporary: ClassVar[bool] = True

    @classmethod
    def summary(cls, path: Path) -> str:
        """Say what is wrong."""
        return f"no space left for the store {path}; nothing was written"

    @classmethod
    def ways_on(cls, path: Path) -> tuple[str, ...]:
        """Return the commands that help."""
        directory = quote(str(path.parent))
        return (f"see what is left: df -h {directory}", f"see what takes it: du -xsh {directory}/*")


class StoreCorrupt(StoreFault):
    """The store's file is damaged, or is no SQLite database."""

    code = "HL6304"

    @classmethod
    def summary(cls, path: Path) -> str:
        """Say what is wrong."""
        return f"the store {path} is damaged"

    @classmethod
    def ways_on(cls, path: Path) -> tuple[str, ...]:
        """Return the commands that help."""
        return (
            f"put a backup in its place, if there is one: {_aside(path)} && cp BACKUP {quote(str(path))}; hitless up",
            f"or begin a new one; what runs is kept: {_aside(path)}; hitless up",
            "then adopt what runs, as hitless status says: hitless deploy NAME --version VERSION",
        )


def _aside(path: Path) -> str:
    """Return the command that puts the store away, with the files that SQLite would read into its successor."""
    folder = quote(str(path.with_name("damaged")))
    return f"mkdir -p {folder} && mv {quote(str(path))}* {folder}/"


class StoreVanished(StoreFault):
    """The store's file was deleted, moved or replaced while hitless had it open; nothing was written."""

    code = "HL6305"

    @classmethod
    def summary(cls, path: Path) -> str:
        """Say what is wrong."""
        return f"the store {path} was deleted, moved or replaced while it was open; nothing was written"

    @classmethod
    def ways_on(cls, path: Path) -> tuple[str, ...]:
        """Return the commands that help."""
        return (
            f"put it back, or a backup, at {quote(str(path))}, then start the control plane again (Ctrl-C, hitless up)",
            "without one, start it again too; then adopt what runs: hitless deploy NAME --version VERSION",
        )


class SchemaTooNew(Refused):
    """The store was written by a newer hitless."""

    code = "HL6306"

    def __init__(self, path: Path, *, found: int, known: int) -> None:
        super().__init__(
            f"the store {path} was written by a newer hitless",
            evidence=(f"its schema has version {found}", f"this hitless knows versions up to {known}"),
            hints=("install the newer hitless again: pip install --upgrade hitless",),
        )
