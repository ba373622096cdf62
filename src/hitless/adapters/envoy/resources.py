"""Service and table as Envoy resources: listeners, clusters, endpoints, certificates. Pure.

Rules: a listener holds addresses, certificate and log, nothing that a rollout changes, because a changed listener
drains its connections and cuts long streams; everything else is reached through its route file. A cluster is one
version of one service.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from hitless.adapters.envoy.layout import Layout, cluster_name, preview_name
from hitless.adapters.envoy.refusals import AddressUnusable
from hitless.analysis.counts import HANGS_AFTER_S
from hitless.rollout.spec import Address, HealthSpec, InstanceId, ServiceSpec, Version
from hitless.rollout.world import Endpoint, EndpointState

Json = dict[str, Any]

_TYPE = "type.googleapis.com/envoy"
_MAX_UPSTREAM = 65_536  # requests and connections per version: back-pressure is the application's business
_MAX_RETRIES = 1_024  # the default of 3 gave up on thousands of requests that could safely be sent again
_SLOW_START_WINDOW_S = 2.0

ACCESS_LOG_FORMAT: Mapping[str, str] = {
    "type": "%ACCESS_LOG_TYPE%",  # DownstreamEnd; DownstreamPeriodic: it is open still, `HANGS_AFTER_S` after it began
    "time": "%START_TIME(%s.%6f)%",
    "told": "%EMIT_TIME(%s.%6f)%",  # when this line was written
    "method": "%REQ(:METHOD)%",
    "path": "%PATH(NQ)%",  # without the query: it carries what is nobody's business in a log
    "status": "%RESPONSE_CODE%",
    "flags": "%RESPONSE_FLAGS%",
    "details": "%RESPONSE_CODE_DETAILS%",
    "cluster": "%UPSTREAM_CLUSTER_RAW%",
    "host": "%UPSTREAM_HOST%",
    "duration_us": "%COMMON_DURATION(DS_RX_BEG:DS_TX_END:us)%",
    "upstream_us": "%COMMON_DURATION(US_TX_BEG:US_RX_BEG:us)%",
    "received_us": "%COMMON_DURATION(DS_RX_BEG:DS_RX_END:us)%",  # until the request was there with its body
    "first_byte_us": "%COMMON_DURATION(DS_RX_BEG:US_RX_BEG:us)%",
    "attempts": "%UPSTREAM_REQUEST_ATTEMPT_COUNT%",
    "received_bytes": "%BYTES_RECEIVED%",  # of the request's body, without headers; of a WebSocket, all of it
    "sent_bytes": "%BYTES_SENT%",
    "content": "%RESP(CONTENT-TYPE):24%",
    "upgrade": "%REQ(UPGRADE):12%",
    "grpc": "%GRPC_STATUS_NUMBER%",
    "route": "%ROUTE_NAME%",  # `OVERRIDE_ROUTE`: a tester chose the version
    "request_id": "%REQ(X-REQUEST-ID)%",
}
"""What is empty is left out of the line."""


def duration(seconds: float) -> str:
    """Render a duration as protobuf's JSON wants it."""
    return f"{seconds:.3f}s"


def path_source(path: Path) -> Json:
    """Point to a file that Envoy watches."""
    return {"resource_api_version": "V3", "path_config_source": {"path": str(path)}}


def socket_address(address: Address) -> Json:
    """Render a TCP address."""
    return {"socket_address": {"address": address.host, "port_value": address.port}}


def listeners(spec: ServiceSpec, layout: Layout) -> dict[str, Json]:
    """Render the service's listeners by name: its own, and that of the preview where one is wanted.

    Raises:
        AddressUnusable: not an IP address.
    """
    found = {spec.name: _listener(spec.name, spec.traffic.listen, spec, layout)}
    preview = spec.strategy.blue_green.preview
    if preview is not None:
        name = preview_name(spec.name)
        found[name] = _listener(name, preview, spec, layout)
    return found


def addresses(spec: ServiceSpec) -> dict[str, Address]:
    """Addresses that the service listens on, by listener."""
    preview = spec.strategy.blue_green.preview
    return {spec.name: spec.traffic.listen, **({preview_name(spec.name): preview} if preview else {})}


def listened_address(listener: Mapping[str, Any]) -> Address:
    """Read the address back from a listener."""
    found = listener["address"]["socket_address"]
    return Address(host=found["address"], port=found["port_value"])


def secret(service: str, cert: str, key: str) -> Json:
    """Render a certificate with its key, both as PEM text: Envoy reads no file that others write."""
    return {
        "@type": f"{_TYPE}.extensions.transport_sockets.tls.v3.Secret",
        "name": service,
        "tls_certificate": {
            "certificate_chain": {"inline_string": cert},
            "private_key": {"inline_string": key},
        },
    }


def cluster(spec: ServiceSpec, version: Version, layout: Layout) -> Json:
    """Render the cluster of one version."""
    name = cluster_name(spec.name, version)
    return {
        "@type": f"{_TYPE}.config.cluster.v3.Cluster",
        "name": name,
        "type": "EDS",
        "connect_timeout": "1s",
        "eds_cluster_config": {"service_name": name, "eds_config": path_source(layout.endpoints(name))},
        # Without it an endpoint that was taken out stays routed while it is healthy: a fifth of all requests failed.
        "ignore_health_on_host_removal": True,
        "health_checks": [_health_check(spec.health, http2=spec.traffic.http2)],
        "circuit_breakers": {
            "thresholds": [
                {
                    "max_connections": _MAX_UPSTREAM,
                    "max_pending_requests": _MAX_UPSTREAM,
                    "max_requests": _MAX_UPSTREAM,
                    "max_retries": _MAX_RETRIES,
                }
            ]
        },
        "round_robin_lb_config": {"slow_start_config": {"slow_start_window": duration(_SLOW_START_WINDOW_S)}},
        "typed_extension_protocol_options": {
            "envoy.extensions.upstreams.http.v3.HttpProtocolOptions": _upstream_protocol(spec),
        },
    }


def endpoints(name: str, members: Mapping[InstanceId, Endpoint]) -> Json:
    """Render the endpoints of one cluster."""
    return {
        "@type": f"{_TYPE}.config.endpoint.v3.ClusterLoadAssignment",
        "cluster_name": name,
        "endpoints": [{"lb_endpoints": [_endpoint(member) for member in members.values()]}],
    }


def upstream_idle_timeout_s(keep_alive_s: float) -> float:
    """How long to keep an idle connection: closed before the application does, or a request races with its closing."""
    return keep_alive_s - 1.0 if keep_alive_s >= 2.0 else keep_alive_s / 2  # noqa: PLR2004 - the doc of keep_alive_s says so


def _listener(name: str, address: Address, spec: ServiceSpec, layout: Layout) -> Json:
    _require_ip(address)
    chain: Json = {"filters": [_connection_manager(name, spec, layout)]}
    if spec.traffic.tls is not None:
        chain["transport_socket"] = _tls(spec.name, layout)
    return {
        "@type": f"{_TYPE}.config.listener.v3.Listener",
        "name": name,
        "address": socket_address(address),
        "filter_chains": [chain],
    }


def _require_ip(address: Address) -> None:
    try:
        ipaddress.ip_address(address.host)
    except ValueError as error:
        raise AddressUnusable(address, f"{address.host} is not an IP address") from error


def _connection_manager(name: str, spec: ServiceSpec, layout: Layout) -> Json:
    manager: Json = {
        "@type": f"{_TYPE}.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager",
        "stat_prefix": name,
        "rds": {"route_config_name": name, "config_source": path_source(layout.routes(name))},
        "use_remote_address": True,
        # Nobody is "internal". By default private and loopback clients are, and their x-request-id is kept: it would
        # choose the version of a new user. It takes an address that no client has: an empty list means the default.
        "internal_address_config": {"cidr_ranges": [{"address_prefix": "255.255.255.255", "prefix_len": 32}]},
        "server_header_transformation": "PASS_THROUGH",
        "http_protocol_options": {"accept_http_10": True},
        "upgrade_configs": [{"upgrade_type": "websocket"}],
        "http_filters": [
            {
                "name": "envoy.filters.http.router",
                "typed_config": {
                    "@type": f"{_TYPE}.extensions.filters.http.router.v3.Router",
                    "suppress_envoy_headers": True,
                },
            }
        ],
    }
    if name == spec.name:  # looking at the preview is no user's request: the log is what versions are judged by
        manager["access_log"] = [_access_log(layout.access_log(name))]
        # Once while it is open, too: a stream would be unseen for hours, and a request that hangs until it ends.
        manager["access_log_options"] = {"access_log_flush_interval": duration(HANGS_AFTER_S)}
    return {"name": "envoy.filters.network.http_connection_manager", "typed_config": manager}


def _access_log(path: Path) -> Json:
    return {
        "name": "envoy.access_loggers.file",
        "filter": {"or_filter": {"filters": [_is_final(), _lasts_at_most(1.5 * HANGS_AFTER_S)]}},
        "typed_config": {
            "@type": f"{_TYPE}.extensions.access_loggers.file.v3.FileAccessLog",
            "path": str(path),
            "log_format": {"json_format": dict(ACCESS_LOG_FORMAT), "omit_empty_values": True},
        },
    }


def _is_final() -> Json:
    return {"log_type_filter": {"types": ["DownstreamPeriodic"], "exclude": True}}


def _lasts_at_most(seconds: float) -> Json:
    """Once is enough: 10,000 open streams would be 2,000 lines a second, and the second time tells nothing new."""
    limit = {"default_value": int(seconds * 1000), "runtime_key": "hitless.still_open_ms"}
    return {"duration_filter": {"comparison": {"op": "LE", "value": limit}}}


def _tls(service: str, layout: Layout) -> Json:
    context = {
        "@type": f"{_TYPE}.extensions.transport_sockets.tls.v3.DownstreamTlsContext",
        "common_tls_context": {
            "alpn_protocols": ["h2", "http/1.1"],
            "tls_certificate_sds_secret_configs": [
                {"name": service, "sds_config": path_source(layout.secret(service))},
            ],
        },
    }
    return {"name": "envoy.transport_sockets.tls", "typed_config": context}


def _health_check(health: HealthSpec, *, http2: bool) -> Json:
    return {
        "timeout": duration(health.timeout_s),
        "interval": duration(health.interval_s),
        "no_traffic_interval": duration(health.interval_s),
        "unhealthy_threshold": health.unhealthy_after,
        "healthy_threshold": health.healthy_after,
        # A connection per check: a server that closes idle ones must not look ill, nor be kept from ending by ours.
        "reuse_connection": False,
        "http_health_check": {"path": health.ready, "codec_client_type": "HTTP2" if http2 else "HTTP1"},
    }


def _upstream_protocol(spec: ServiceSpec) -> Json:
    version = "http2_protocol_options" if spec.traffic.http2 else "http_protocol_options"
    return {
        "@type": f"{_TYPE}.extensions.upstreams.http.v3.HttpProtocolOptions",
        "common_http_protocol_options": {"idle_timeout": duration(upstream_idle_timeout_s(spec.traffic.keep_alive_s))},
        "explicit_http_config": {version: {}},
    }


def _endpoint(member: Endpoint) -> Json:
    return {
        # The host header of health checks: frameworks that check it know their address, not our name for the version.
        "endpoint": {
            "address": socket_address(member.address),
            "health_check_config": {"hostname": str(member.address)},
        },
        "health_status": "HEALTHY" if member.state is EndpointState.ACTIVE else "DRAINING",
    }
