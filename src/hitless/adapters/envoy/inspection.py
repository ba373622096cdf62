"""What can be seen of this project's Envoy and its surroundings without touching anything; for `hitless doctor`."""

from __future__ import annotations

import os
import platform
import subprocess
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass
from ipaddress import ip_address
from pathlib import Path

import psutil

from hitless.adapters.envoy.binary import EnvoyMissing, envoy_binary
from hitless.adapters.envoy.definition import check_free
from hitless.adapters.envoy.earlier import read_record
from hitless.adapters.envoy.layout import LONGEST_SOCKET, SOCKET_PATH_MAX, Layout
from hitless.adapters.envoy.refusals import AddressUnusable, SocketLinkTaken
from hitless.adapters.envoy.resources import addresses
from hitless.adapters.envoy.watches import RESERVE, instances_in_use, instances_of, limit, widest_need
from hitless.doctor.measures import EnvoyBinary, Inotify, ListenAddress, SocketPath, Stray
from hitless.rollout.spec import LOCAL, Address, ServiceSpec

_ANSWER_WITHIN_S = 10.0
_ELF_MACHINES = {3: "i686", 40: "armv7l", 62: "x86_64", 183: "aarch64", 243: "riscv64"}  # e_machine of elf(5)
_ELF_HEADER_BYTES = 20


@dataclass(frozen=True, slots=True, kw_only=True)
class FoundEnvoy:
    """A process that was started on this project's files; `base_id` as on its command line."""

    pid: int
    base_id: str


def layout_in(state_directory: Path) -> Layout:
    """Say where everything lies, and create nothing."""
    return Layout((state_directory / "envoy").resolve() / LOCAL)


def binary() -> EnvoyBinary:
    """Look at the program, and let it say its version."""
    machine, glibc = platform.machine(), _glibc()
    try:
        path = envoy_binary()
    except EnvoyMissing:
        return EnvoyBinary(path=None, machine=machine, glibc=glibc)
    is_executable = os.access(path, os.X_OK)
    version, complaint = _version(path) if is_executable else (None, "")
    return EnvoyBinary(
        path=str(path),
        is_executable=is_executable,
        architecture=_architecture(path),
        machine=machine,
        glibc=glibc,
        version=version,
        complaint=complaint,
    )


def inotify(specs: Iterable[ServiceSpec], envoys: Iterable[FoundEnvoy], *, basis: str) -> Inotify:
    """Look at the budget; what this project's Envoy has open already is not needed again."""
    held = sum(instances_of(one.pid) for one in envoys)
    return Inotify(
        limit=limit(),
        in_use=instances_in_use(os.getuid()),
        needed=max(widest_need(specs) - held, 0),
        reserve=RESERVE,
        basis=basis,
    )


def envoys(state_directory: Path) -> tuple[FoundEnvoy, ...]:
    """Find every process that runs on one of this project's bootstrap files, replaced ones included."""
    layout = layout_in(state_directory)
    found = ((pid, _arguments(pid)) for pid in psutil.pids())
    return tuple(
        FoundEnvoy(pid=pid, base_id=_after(b"--base-id", words))
        for pid, words in found
        if layout.is_bootstrap(Path(_after(b"--config-path", words)))
    )


def strays(state_directory: Path, found: Iterable[FoundEnvoy]) -> tuple[Stray, ...]:
    """Return those that the next controller would not find: neither of this directory's base id, nor replaced ones."""
    layout = layout_in(state_directory)
    ours = layout.base_id.read_text() if layout.base_id.exists() else ""
    replaced = {one.identity.pid for one in read_record(layout.process).earlier}
    return tuple(
        Stray(pid=one.pid, command=_command(one.pid), what="an Envoy on this project's files")
        for one in found
        if one.base_id != ours and one.pid not in replaced
    )


def listening(specs: Iterable[ServiceSpec], found: Iterable[FoundEnvoy]) -> tuple[ListenAddress, ...]:
    """Try every address that this project's Envoy does not listen on already."""
    ours = {place for one in found for place in _listened_by(one.pid)}
    return tuple(
        _look(name, address, is_ours=(_normal(address.host), address.port) in ours)
        for spec in specs
        for name, address in addresses(spec).items()
    )


def socket_path(state_directory: Path) -> SocketPath:
    """Measure the admin socket's path, and look whether the way around a long one is open."""
    layout = layout_in(state_directory)
    path = layout.root / LONGEST_SOCKET
    length, refusal = len(os.fsencode(path)), None
    if length > SOCKET_PATH_MAX:
        refusal = _link_refusal(layout)
    return SocketPath(path=str(path), length_bytes=length, most_bytes=SOCKET_PATH_MAX, link_refusal=refusal)


def _look(name: str, address: Address, *, is_ours: bool) -> ListenAddress:
    if is_ours:
        return ListenAddress(use=name, address=str(address), port=address.port, is_ours=True)
    try:
        check_free(address)
    except AddressUnusable as error:
        return ListenAddress(
            use=name,
            address=str(address),
            port=address.port,
            refusal=error.message.partition(": ")[2],
            holders=error.evidence,
            may_try=not isinstance(error.__cause__, PermissionError),
        )
    return ListenAddress(use=name, address=str(address), port=address.port)


def _listened_by(pid: int) -> set[tuple[str, int]]:
    with suppress(psutil.Error):  # ended meanwhile, or another user's: then it is told as a stranger
        found = psutil.Process(pid).net_connections(kind="tcp")
        return {
            (_normal(one.laddr.ip), one.laddr.port) for one in found if one.status == psutil.CONN_LISTEN and one.laddr
        }
    return set()


def _normal(host: str) -> str:
    """Write an IP address in its one form; `0::1` is `::1`."""
    try:
        return str(ip_address(host))
    except ValueError:
        return host


def _link_refusal(layout: Layout) -> str | None:
    link = layout.admin_socket.parent
    if not link.is_symlink() and not link.exists():
        return None if os.access(link.parent, os.W_OK | os.X_OK) else f"{link.parent} may not be written to"
    is_ours = link.is_symlink() and link.readlink() == layout.root and link.lstat().st_uid == os.getuid()
    return None if is_ours else SocketLinkTaken(link).message


def _architecture(path: Path) -> str | None:
    try:
        with path.open("rb") as file:
            head = file.read(_ELF_HEADER_BYTES)
    except OSError:  # missing, or hidden: told as no program
        return None
    if not head.startswith(b"\x7fELF"):
        return None
    number = int.from_bytes(head[18:20], "little" if head[5] == 1 else "big")
    return _ELF_MACHINES.get(number, f"ELF machine {number}")


def _glibc() -> str | None:
    name = os.confstr("CS_GNU_LIBC_VERSION") if "CS_GNU_LIBC_VERSION" in os.confstr_names else None
    return name.rpartition(" ")[2] if name else None


def _version(path: Path) -> tuple[str | None, str]:
    """Return what follows the commit in `SHA/1.40.0/Clean/...`, or what it complained of."""
    try:
        done = subprocess.run(  # noqa: S603 - the wheel's own program
            [path, "--version"], capture_output=True, text=True, timeout=_ANSWER_WITHIN_S, check=False
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        return None, str(error)
    said = done.stdout.partition("version: ")[2].strip().split("/")
    if done.returncode or len(said) < 2:  # noqa: PLR2004 - commit and version
        return None, (done.stderr or done.stdout).strip() or f"exit code {done.returncode}"
    return said[1], ""


def _arguments(pid: int) -> list[bytes]:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
    except (FileNotFoundError, ProcessLookupError, PermissionError):  # ended meanwhile, or hidden
        return []


def _command(pid: int) -> str:
    return os.fsdecode(b" ".join(_arguments(pid)[:3]).strip())


def _after(option: bytes, words: list[bytes]) -> str:
    return os.fsdecode(words[words.index(option) + 1]) if option in words[:-1] else ""
