"""Addresses: previews, certificates, HTTP/2, and ports that are taken."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import ssl
from dataclasses import replace
from pathlib import Path

import aiohttp
import h2.config
import h2.connection
import h2.events
import pytest
from certificates import pair, put, trusting
from envoy_stage import Upstream, free_address, get, service, serving, stage, table

from hitless.adapters.envoy.refusals import AddressUnusable, CertificateUnusable, EnvoyRejected
from hitless.rollout.spec import LOCAL, Address, InstanceId, TlsSpec, Version


async def _get_by_http2(address: Address) -> tuple[str, str, bytes]:
    """Ask for `/` by HTTP/2 over TLS; return the negotiated protocol, the status and the body."""
    reader, writer = await asyncio.open_connection(address.host, address.port, ssl=trusting("h2"))
    connection = h2.connection.H2Connection(h2.config.H2Configuration(header_encoding="utf-8"))
    connection.initiate_connection()
    headers = [(":method", "GET"), (":path", "/"), (":scheme", "https"), (":authority", str(address))]
    connection.send_headers(1, headers, end_stream=True)
    writer.write(connection.data_to_send())
    status, body, is_open = "", b"", True
    while is_open:
        for event in connection.receive_data(await reader.read(65_536)):
            if isinstance(event, h2.events.ResponseReceived):
                status = dict(event.headers)[":status"]
            elif isinstance(event, h2.events.DataReceived):
                body += event.data
            elif isinstance(event, h2.events.StreamEnded):
                is_open = False
        writer.write(connection.data_to_send())
    protocol = writer.get_extra_info("ssl_object").selected_alpn_protocol()
    writer.close()
    with contextlib.suppress(ssl.SSLError, ConnectionError):
        await writer.wait_closed()
    return protocol, status, body


async def test_tls_serves_http2_and_http1(tmp_path: Path) -> None:
    folder = tmp_path / "tls"
    folder.mkdir()
    tls = put(pair(folder), folder)
    async with serving(tmp_path / "state", "v1", tls=tls, sticky_cookie="uid") as (_built, listen, _):
        assert await _get_by_http2(listen) == ("h2", "200", b"v1 v1-0")
        connector = aiohttp.TCPConnector(ssl=trusting("http/1.1"))
        async with aiohttp.ClientSession(connector=connector) as client, client.get(f"https://{listen}/") as response:
            assert await response.text() == "v1 v1-0"
            assert "Secure" in response.headers["set-cookie"]


async def test_a_key_that_does_not_fit_its_certificate_is_the_users_error(tmp_path: Path) -> None:
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
    one, other = (put(pair(tmp_path / name), tmp_path / name) for name in ("a", "b"))
    async with stage(tmp_path / "state") as built:
        with pytest.raises(CertificateUnusable):
            await built.router.define(service(tls=TlsSpec(cert=one.cert, key=other.key)))
        with pytest.raises(CertificateUnusable, match="No such file"):
            await built.router.define(service(tls=TlsSpec(cert="/no/such.pem", key=one.key)))
        assert await built.open_services() == set()


async def test_the_preview_address_shows_the_preview_and_nothing_else(tmp_path: Path) -> None:
    preview = free_address()
    settings = {"preview": preview}
    async with (
        serving(tmp_path, "v1", "v2", **settings) as (built, listen, (v1, v2)),
        aiohttp.ClientSession() as client,
    ):
        assert await get(client, preview) == (503, "hitless: no version of shop is in preview\n")
        await built.must_apply(table({"v1": 10_000}, [v1, v2], preview="v2"))
        assert await get(client, preview) == (200, f"v2 {v2.name}")
        assert await get(client, listen) == (200, "v1 v1-0")
        await built.must_apply(table({"v1": 10_000}, [v1, v2]))
        assert (await get(client, preview))[0] == 503


class _H2Application(asyncio.Protocol):
    """Answers every request with `h2c`; speaks nothing but HTTP/2 without TLS."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport
        self.connection = h2.connection.H2Connection(h2.config.H2Configuration(client_side=False))
        self.connection.initiate_connection()
        transport.write(self.connection.data_to_send())

    def data_received(self, data: bytes) -> None:
        for event in self.connection.receive_data(data):
            if isinstance(event, h2.events.RequestReceived):
                self.connection.send_headers(event.stream_id, [(":status", "200")])
                self.connection.send_data(event.stream_id, b"h2c", end_stream=True)
        self.transport.write(self.connection.data_to_send())


async def test_instances_that_speak_http2_without_tls_are_served_and_checked(tmp_path: Path) -> None:
    server = await asyncio.get_running_loop().create_server(_H2Application, "127.0.0.1", 0)
    address = Address(host="127.0.0.1", port=server.sockets[0].getsockname()[1])
    async with stage(tmp_path) as built, aiohttp.ClientSession() as client:
        spec = service(http2=True)
        await built.router.define(spec)
        speaker = Upstream(Version("v1"), InstanceId("v1-0"), address=address)
        await built.must_apply(table({"v1": 10_000}, [speaker]))
        assert await get(client, spec.traffic.listen) == (200, "h2c")
    server.close()


async def test_a_taken_port_is_the_users_error_and_harms_no_other_service(tmp_path: Path) -> None:
    async with serving(tmp_path, "v1") as (built, listen, _), aiohttp.ClientSession() as client:
        before = (tmp_path / LOCAL / "lds.json").read_bytes()
        with socket.create_server(("127.0.0.1", 0)) as holder:
            taken = Address(host="127.0.0.1", port=holder.getsockname()[1])
            with pytest.raises(AddressUnusable, match=f"cannot listen on {taken}: address already in use") as error:
                await built.router.define(service("other", listen=taken))
            assert any("pid" in line for line in error.value.evidence)
        with pytest.raises(AddressUnusable, match="shop listens there already"):
            await built.router.define(service("other", listen=listen))
        assert (tmp_path / LOCAL / "lds.json").read_bytes() == before
        assert await get(client, listen) == (200, "v1 v1-0")


async def test_a_port_taken_between_the_check_and_envoy_is_reported_and_taken_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with serving(tmp_path, "v1") as (built, listen, _), aiohttp.ClientSession() as client:
        monkeypatch.setattr("hitless.adapters.envoy.definition.check_free", lambda _: None)
        with socket.create_server(("127.0.0.1", 0)) as holder:
            taken = Address(host="127.0.0.1", port=holder.getsockname()[1])
            with pytest.raises(EnvoyRejected, match=f"cannot bind '{taken}'"):
                await built.router.define(service("other", listen=taken))
        assert await built.open_services() == {"shop"}
        assert (await built.view()).problem is None
        assert await get(client, listen) == (200, "v1 v1-0")


async def test_a_service_moves_to_another_address(tmp_path: Path) -> None:
    async with stage(tmp_path) as built, aiohttp.ClientSession() as client:
        spec = service()
        await built.router.define(spec)
        (v1,) = await built.serve("v1")
        await built.must_apply(table({"v1": 10_000}, [v1]))
        moved = replace(spec, traffic=replace(spec.traffic, listen=free_address()))
        await built.router.define(moved)
        assert await get(client, moved.traffic.listen) == (200, "v1 v1-0")
        assert (await built.view()).problem is None


async def test_the_application_sees_a_normal_edge_and_users_see_the_application(tmp_path: Path) -> None:
    async with serving(tmp_path, "v1") as (_, listen, (v1,)), aiohttp.ClientSession() as client:
        sent = {"x-forwarded-proto": "https", "x-envoy-retry-on": "5xx", "x-forwarded-for": "203.0.113.7"}
        async with client.get(f"http://{listen}/", headers=sent) as response:
            assert response.headers["server"].startswith("Python/")
            assert not [name for name in response.headers if name.lower().startswith(("x-", "via", "set-cookie"))]
        seen = {name.lower(): value for name, value in v1.last_headers.items()}
        assert seen["host"] == str(listen)
        assert seen["x-forwarded-for"].startswith("203.0.113.7,")
        assert seen["x-forwarded-proto"] == "http"
        assert "x-envoy-retry-on" not in seen
