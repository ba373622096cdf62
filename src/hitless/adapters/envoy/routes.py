"""Service and table as Envoy routes. Pure.

Sticky users without a place to store them: the share of a version is a range of a hash, the newest version at its low
end, so widening moves users to the new version only. The hash is of the user's cookie. Who has no cookie yet is placed
by the hash of the request's id, and that very id becomes the cookie: the first and the second request agree. The id is
always Envoy's own, see `internal_address_config`. The salt, one per rollout, changes which users are first.
"""

from __future__ import annotations

import re
from typing import Any

from hitless.adapters.envoy.layout import cluster_name, preview_name
from hitless.rollout.spec import OverrideSpec, ServiceSpec
from hitless.rollout.world import Table

Json = dict[str, Any]

_TYPE = "type.googleapis.com/envoy"
OVERRIDE_ROUTE = "override"
"""Name of the routes by which testers choose a version: what they ask is nobody's traffic."""

_RETRY_ON = "connect-failure,refused-stream,reset-before-request"  # what no application has begun to work on
_COOKIE_MAX_AGE_S = 86_400
_RETRY_AFTER_S = 5


def routes(spec: ServiceSpec, table: Table) -> Json:
    """Render the routes of the service's own address."""
    chosen = [*_override_routes(spec, table), *_split_routes(spec, table)]
    return _configuration(spec.name, chosen, drop=_override_headers(spec.traffic.override))


def preview_routes(spec: ServiceSpec, table: Table) -> Json:
    """Render the routes of the preview address."""
    name = preview_name(spec.name)
    if table.preview is None or not any(table.active(table.preview)):
        return _configuration(name, [_unavailable(f"no version of {spec.name} is in preview")])
    route = {"cluster": cluster_name(spec.name, table.preview), **_forwarding(spec)}
    return _configuration(name, [{"match": {"prefix": "/"}, "route": route}])


def _configuration(name: str, chosen: list[Json], *, drop: tuple[str, ...] = ()) -> Json:
    host: Json = {"name": name, "domains": ["*"], "routes": chosen}
    if drop:
        host["request_headers_to_remove"] = list(drop)
    return {
        "@type": f"{_TYPE}.config.route.v3.RouteConfiguration",
        "name": name,
        "validate_clusters": True,  # off by default for routes from files: a wrong name would be a 503, not a rejection
        "virtual_hosts": [host],
    }


def _override_headers(override: OverrideSpec | None) -> tuple[str, ...]:
    return (override.header, f"{override.header}-token") if override else ()


def _override_routes(spec: ServiceSpec, table: Table) -> list[Json]:
    if spec.traffic.override is None:
        return []
    header, token_header = _override_headers(spec.traffic.override)
    token = _exact(token_header, spec.traffic.override.token)
    return [
        {
            "name": OVERRIDE_ROUTE,
            "match": {"prefix": "/", "headers": [_exact(header, version), token]},
            "route": {"cluster": cluster_name(spec.name, version), **_forwarding(spec)},
        }
        for version in table.endpoints
        if any(table.active(version))
    ]


def _split_routes(spec: ServiceSpec, table: Table) -> list[Json]:
    if not any(table.weights.values()):
        return [_unavailable(f"no version of {spec.name} serves yet")]
    if spec.traffic.sticky_cookie is None:
        return [{"match": {"prefix": "/"}, "route": _split(spec, table)}]
    return [_known_user(spec, table, spec.traffic.sticky_cookie), _new_user(spec, table, spec.traffic.sticky_cookie)]


def _known_user(spec: ServiceSpec, table: Table, cookie: str) -> Json:
    pattern = _cookie_pattern(cookie)
    return {
        "match": {"prefix": "/", "headers": [{"name": "cookie", "string_match": {"safe_regex": {"regex": pattern}}}]},
        "route": _split(spec, table, hashed=_salted("cookie", pattern, table.salt)),
    }


def _new_user(spec: ServiceSpec, table: Table, cookie: str) -> Json:
    flags = f"Path=/; Max-Age={_COOKIE_MAX_AGE_S}; HttpOnly; SameSite=Lax" + ("; Secure" if spec.traffic.tls else "")
    value = f"{cookie}=%REQ(X-REQUEST-ID)%; {flags}"
    return {
        "match": {"prefix": "/"},
        "route": _split(spec, table, hashed=_salted("x-request-id", "^(.*)$", table.salt)),
        "response_headers_to_add": [
            {"header": {"key": "set-cookie", "value": value}, "append_action": "APPEND_IF_EXISTS_OR_ADD"}
        ],
    }


def _split(spec: ServiceSpec, table: Table, *, hashed: Json | None = None) -> Json:
    shares = [
        {"name": cluster_name(spec.name, version), "weight": weight}
        for version, weight in table.weights.items()
        if weight
    ]
    split: Json = {"weighted_clusters": {"clusters": shares}, **_forwarding(spec)}
    if hashed is not None:
        split["weighted_clusters"]["use_hash_policy"] = True
        split["hash_policy"] = [hashed]
    return split


def _cookie_pattern(cookie: str) -> str:
    return rf"^(?:.*;[ \t]*)?{re.escape(cookie)}=([^;]+).*$"


def _salted(header: str, pattern: str, salt: str) -> Json:
    literal = salt.replace("\\", r"\\")
    rewrite = {"pattern": {"regex": pattern}, "substitution": rf"{literal}:\1"}
    return {"header": {"header_name": header, "regex_rewrite": rewrite}}


def _forwarding(spec: ServiceSpec) -> Json:
    return {
        "timeout": "0s",  # uploads, long polls and event streams end when they end
        "idle_timeout": f"{spec.traffic.idle_timeout_s:.3f}s",
        "retry_policy": {
            "retry_on": _RETRY_ON,
            "num_retries": 3,
            "host_selection_retry_max_attempts": 3,
            "retry_host_predicate": [
                {
                    "name": "envoy.retry_host_predicates.previous_hosts",
                    "typed_config": {
                        "@type": f"{_TYPE}.extensions.retry.host.previous_hosts.v3.PreviousHostsPredicate",
                    },
                }
            ],
        },
    }


def _exact(header: str, value: str) -> Json:
    return {"name": header, "string_match": {"exact": value}}


def _unavailable(reason: str) -> Json:
    return {
        "match": {"prefix": "/"},
        "direct_response": {"status": 503, "body": {"inline_string": f"hitless: {reason}\n"}},
        "response_headers_to_add": [{"header": {"key": "retry-after", "value": str(_RETRY_AFTER_S)}}],
    }
