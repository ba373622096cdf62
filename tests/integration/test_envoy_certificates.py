"""Certificates are exchanged while they are used, whichever way their files change; a pair that fits always serves."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from pathlib import Path

import aiohttp
import pytest
from certificates import Pair, pair, put, replace_file, served_certificate, trusting
from envoy_stage import Stage, service, serving, until

from hitless.adapters.envoy import watches
from hitless.adapters.envoy.refusals import CertificateUnusable
from hitless.rollout.spec import LOCAL, Address, TlsSpec


@dataclass(frozen=True, slots=True, kw_only=True)
class Served:
    """A service with TLS."""

    built: Stage
    listen: Address

    async def problem(self) -> str | None:
        found = (await self.built.view()).certificate
        assert found is not None
        return found.problem

    async def until_served(self, wanted: Pair) -> None:
        async def is_new() -> bool:
            await self.built.router.ensure_running()
            return await served_certificate(self.listen) == wanted.der

        await until(is_new)
        await self.built.router.ensure_running()
        assert await self.problem() is None

    async def until_told(self, words: str) -> None:
        async def is_told() -> bool:
            await self.built.router.ensure_running()
            return words.lower() in (await self.problem() or "").lower()

        await until(is_told)


@contextlib.asynccontextmanager
async def served(tmp_path: Path, tls: TlsSpec) -> AsyncIterator[Served]:
    connector = aiohttp.TCPConnector(ssl=trusting("http/1.1"))
    """Serve a service with TLS; its listener stays, and a WebSocket from the beginning lives to the end."""
    async with (
        serving(tmp_path / "state", "v1", tls=tls) as (built, listen, _),
        aiohttp.ClientSession(connector=connector) as client,
        client.ws_connect(f"wss://{listen}/ws") as stream,
    ):
        listeners = (built.directory / LOCAL / "lds.json").read_bytes()
        yield Served(built=built, listen=listen)
        await stream.send_str("x")
        assert await stream.receive_str(timeout=5) == "v1 x"
        assert (built.directory / LOCAL / "lds.json").read_bytes() == listeners


def by_rename(folder: Path, found: Pair) -> TlsSpec:
    return put(found, folder)


def by_writing_in_place(folder: Path, found: Pair) -> TlsSpec:
    (folder / "cert.pem").write_text(found.cert)
    (folder / "key.pem").write_text(found.key)
    return TlsSpec(cert=str(folder / "cert.pem"), key=str(folder / "key.pem"))


def by_other_links(folder: Path, found: Pair) -> TlsSpec:
    """As certbot does: both names are links into an archive, removed and made anew."""
    number = len(list(folder.glob("archive-*")))
    archive = folder / f"archive-{number}"
    archive.mkdir()
    put(found, archive)
    for name in ("cert.pem", "key.pem"):
        (folder / name).unlink(missing_ok=True)
        (folder / name).symlink_to(archive / name)
    return TlsSpec(cert=str(folder / "cert.pem"), key=str(folder / "key.pem"))


def by_another_folder(folder: Path, found: Pair) -> TlsSpec:
    """As Kubernetes mounts secrets: both names lead through one link to a folder, and that link is exchanged."""
    number = len(list(folder.glob("..data-*")))
    data = folder / f"..data-{number}"
    data.mkdir()
    put(found, data)
    link = folder / "..data.tmp"
    link.symlink_to(data.name)
    link.rename(folder / "..data")
    for name in ("cert.pem", "key.pem"):
        if not (folder / name).is_symlink():
            (folder / name).symlink_to(Path("..data") / name)
    return TlsSpec(cert=str(folder / "cert.pem"), key=str(folder / "key.pem"))


@pytest.mark.parametrize("replace", [by_rename, by_writing_in_place, by_other_links, by_another_folder])
async def test_a_new_certificate_is_served_whichever_way_its_files_change(
    tmp_path: Path, replace: Callable[[Path, Pair], TlsSpec]
) -> None:
    tls = replace(tmp_path, pair(tmp_path))
    async with served(tmp_path, tls) as shop:
        for _ in range(2):
            fresh = pair(tmp_path)
            replace(tmp_path, fresh)
            await shop.until_served(fresh)


@pytest.mark.fault("a certificate is renewed half way")
async def test_a_key_that_does_not_fit_yet_leaves_the_last_good_pair_in_force(tmp_path: Path) -> None:
    """Also when Envoy is exchanged or crashes in that moment, and for the next controller."""
    first, second = pair(tmp_path), pair(tmp_path)
    async with served(tmp_path, put(first, tmp_path)) as shop:
        replace_file(tmp_path / "cert.pem", second.cert)
        await shop.until_told("do not belong together")
        assert await served_certificate(shop.listen) == first.der
        await shop.built.router.restart(cut=False, streams_s=600)
        assert await served_certificate(shop.listen) == first.der
        later = shop.built.another_router()
        await later.start()
        await later.define(shop.built.router._specs["shop"])
        assert await served_certificate(shop.listen) == first.der
        seen = (await shop.built.view(later)).certificate
        assert seen is not None
        assert seen.problem == "certificate and key do not belong together"
        await later.close()
        replace_file(tmp_path / "key.pem", second.key)
        await shop.until_served(second)


@pytest.mark.fault("a certificate is renewed half way")
async def test_a_file_that_is_no_certificate_leaves_the_last_good_pair_in_force(tmp_path: Path) -> None:
    first = pair(tmp_path)
    async with served(tmp_path, put(first, tmp_path)) as shop:
        (tmp_path / "cert.pem").write_bytes(b"\xff\x00garbage")
        await shop.until_told("is no text")
        (tmp_path / "cert.pem").write_text("nothing")
        await shop.until_told("no certificate in PEM form")
        (tmp_path / "cert.pem").unlink()
        await shop.until_told("No such file")
        assert await served_certificate(shop.listen) == first.der


async def test_a_certificate_comes_back_with_envoy_after_a_crash_though_its_files_are_gone(tmp_path: Path) -> None:
    first = pair(tmp_path)
    async with serving(tmp_path / "state", "v1", tls=put(first, tmp_path)) as (built, listen, _):
        (tmp_path / "cert.pem").unlink()
        (tmp_path / "key.pem").unlink()
        before = built.router.state.pid or 0
        os.kill(before, signal.SIGKILL)

        async def serves_again() -> bool:
            state = await built.router.ensure_running()
            return state.status == "running" and state.pid != before

        await until(serves_again)
        assert await served_certificate(listen) == first.der


async def test_a_pair_that_envoy_does_not_take_is_taken_back(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Otherwise the next start of Envoy would have nothing to serve."""
    first, second = pair(tmp_path), pair(tmp_path)
    async with served(tmp_path, put(first, tmp_path)) as shop:
        path = shop.built.directory / LOCAL / "sds" / "shop.json"
        before = path.read_text()
        monkeypatch.setattr("hitless.adapters.envoy.certificates.ssl.SSLContext.load_cert_chain", lambda *_, **__: None)
        replace_file(tmp_path / "cert.pem", second.cert)
        await shop.until_told("Envoy rejected it")
        assert path.read_text() == before
        assert await served_certificate(shop.listen) == first.der


async def test_when_a_certificate_ends_is_seen(tmp_path: Path) -> None:
    async with served(tmp_path, put(pair(tmp_path, days=9), tmp_path)) as shop:

        async def is_seen() -> bool:
            await shop.built.router.ensure_running()
            found = (await shop.built.view()).certificate
            return found is not None and found.ends_at is not None

        await until(is_seen)
        found = (await shop.built.view()).certificate
        assert found is not None
        assert found.ends_at is not None
        assert (found.ends_at - shop.built.router._clock.now()).days == 8
        put(pair(tmp_path, days=90), tmp_path)

        async def is_later() -> bool:
            await shop.built.router.ensure_running()
            found = (await shop.built.view()).certificate
            assert found is not None
            assert found.ends_at is not None
            return (found.ends_at - shop.built.router._clock.now()).days == 89

        await until(is_later)


async def test_what_an_earlier_release_had_written_is_understood(tmp_path: Path) -> None:
    first = pair(tmp_path)
    tls = put(first, tmp_path)
    async with served(tmp_path, tls) as shop:
        path = shop.built.directory / LOCAL / "sds" / "shop.json"
        old = (
            '{"version_info": "0.0-15d978ff", "resources": [{"@type": '
            '"type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.Secret", "name": "shop", '
            f'"tls_certificate": {{"certificate_chain": {{"filename": "{tls.cert}"}}, "private_key": {{"filename": '
            f'"{tls.key}"}}, "watched_directory": {{"path": "{tmp_path}"}}}}}}]}}'
        )
        replace_file(path, old)
        await shop.built.router.define(shop.built.router._specs["shop"])
        fresh = pair(tmp_path)
        put(fresh, tmp_path)
        await shop.until_served(fresh)


async def test_a_service_without_a_usable_certificate_is_not_opened(tmp_path: Path) -> None:
    first, second = pair(tmp_path), pair(tmp_path)
    async with served(tmp_path, put(first, tmp_path)) as shop:
        (tmp_path / "other").mkdir()
        tls = put(Pair(cert=first.cert, key=second.key), tmp_path / "other")
        with pytest.raises(CertificateUnusable):
            await shop.built.router.define(service("other", tls=tls))
        assert set(await shop.built.router.standing()) == {"shop"}


async def test_a_service_with_tls_costs_as_many_inotify_instances_as_the_budget_says(tmp_path: Path) -> None:
    tls = put(pair(tmp_path), tmp_path)
    async with serving(tmp_path / "state", "v1", tls=tls) as (built, _, _):
        envoy = Path(f"/proc/{built.router.state.pid}")
        before = await asyncio.to_thread(watches._instances_of, envoy)
        await built.router.define(service("other", tls=tls))
        after = await asyncio.to_thread(watches._instances_of, envoy)
        assert after - before == 1 + watches.PER_TLS_SERVICE
