"""The control plane, seen from the command line: HTTP over its Unix socket with the standard library alone."""

from __future__ import annotations

import http.client
import json
import socket
from contextlib import suppress
from pathlib import Path
from typing import Any, Literal, cast
from urllib.parse import quote, urlencode

from hitless.api.unix_socket import connect
from hitless.cli.faults import NotAuthorised, ProblemReported, Unreachable
from hitless.view.models import (
    ControlPlaneView,
    EnvoyView,
    JournalRecordView,
    PlanView,
    PreflightView,
    RolloutRowView,
    RolloutView,
    SecondsView,
    ServiceView,
    VerifyView,
)

Verb = Literal["promote", "promote_full", "pause", "resume", "abort", "undo"]

ANSWER_S = 30.0
"""Longest a control plane may think, beyond the wait that was asked for."""

SECONDS_S = 120.0
"""Longest that 45 minutes of a busy service may take: some megabytes, unpacked and written."""

FIRST_ERROR_STATUS = 400


class Client:
    """One method per route; every call is a connection of its own, so a restarted control plane is found at once."""

    def __init__(self, socket_path: Path) -> None:
        self.socket_path = socket_path

    def services(self, *, after: int | None = None, wait_s: float = 0) -> list[ServiceView]:
        """List all services."""
        return cast("list[ServiceView]", self._get("/v1/services", after=after, wait=wait_s))

    def service(self, name: str, *, after: int | None = None, wait_s: float = 0) -> ServiceView:
        """Show one service; with `after`, as soon as something has changed since, or after `wait_s`."""
        return cast("ServiceView", self._get(f"/v1/services/{quote(name, safe='')}", after=after, wait=wait_s))

    def seconds(self, service: str, *, minutes: int) -> SecondsView:
        """Return what was measured of a service lately."""
        path = f"/v1/services/{quote(service, safe='')}/seconds?minutes={minutes}"
        return cast("SecondsView", self._ask("GET", path, None, timeout_s=SECONDS_S))

    def rollouts(self, service: str | None, *, limit: int = 20, before: str | None = None) -> list[RolloutRowView]:
        """List rollouts, newest first, only those begun before `before`."""
        return cast("list[RolloutRowView]", self._get("/v1/rollouts", service=service, limit=limit, before=before))

    def rollout(self, rollout_id: str) -> RolloutView:
        """Show one rollout."""
        return cast("RolloutView", self._get(f"/v1/rollouts/{quote(rollout_id, safe='')}"))

    def plan(self, service: str, *, version: str, strategy: str | None) -> PlanView:
        """Show what a deploy would do."""
        path = f"/v1/services/{quote(service, safe='')}/plan"
        return cast("PlanView", self._get(path, version=version, strategy=strategy))

    def deploy(self, service: str, **request: Any) -> RolloutView:
        """Begin a rollout."""
        return cast("RolloutView", self._post(f"/v1/services/{quote(service, safe='')}/rollouts", request))

    def preflight(self, service: str, **request: Any) -> PreflightView:
        """Examine a version; a slow start takes its time."""
        path = f"/v1/services/{quote(service, safe='')}/preflight"
        return cast("PreflightView", self._ask("POST", path, request, timeout_s=None))

    def act(self, service: str, verb: Verb, **request: Any) -> RolloutView:
        """Act on the service's rollout."""
        return cast("RolloutView", self._post(f"/v1/services/{quote(service, safe='')}/{verb}", request))

    def journal(
        self, *, after: int = 0, subject: str | None = None, limit: int = 1_000, wait_s: float = 0
    ) -> list[JournalRecordView]:
        """Read records above `after`, oldest first."""
        records = self._get("/v1/journal", after=after, subject=subject, limit=limit, wait=wait_s)
        return cast("list[JournalRecordView]", records)

    def newest_records(self, count: int, *, subject: str | None = None) -> list[JournalRecordView]:
        """Read the newest `count` records, oldest first."""
        return cast("list[JournalRecordView]", self._get("/v1/journal", last=count, subject=subject))

    def verify_journal(self) -> VerifyView:
        """Recompute the whole chain; a long journal takes its time."""
        return cast("VerifyView", self._ask("GET", "/v1/journal/check", None, timeout_s=None))

    def control_plane(self) -> ControlPlaneView:
        """Show the control plane itself."""
        return cast("ControlPlaneView", self._get("/v1/control-plane"))

    def envoy(self) -> EnvoyView:
        """Show Envoy's process."""
        return cast("EnvoyView", self._get("/v1/envoy"))

    def restart_envoy(self, **request: Any) -> EnvoyView:
        """Exchange Envoy; returns when the new one serves."""
        return cast("EnvoyView", self._ask("POST", "/v1/envoy/restart", request, timeout_s=None))

    def down(self) -> None:
        """End everything; returns when it is done, however long instances take to finish."""
        self._ask("POST", "/v1/down", {}, timeout_s=None)

    def _get(self, path: str, **query: Any) -> Any:
        chosen = urlencode({name: value for name, value in query.items() if value is not None})
        return self._ask("GET", f"{path}?{chosen}" if chosen else path, None, timeout_s=query.get("wait", 0) + ANSWER_S)

    def _post(self, path: str, request: dict[str, Any]) -> Any:
        return self._ask("POST", path, request, timeout_s=ANSWER_S)

    def _ask(self, method: str, target: str, body: Any, *, timeout_s: float | None) -> Any:
        try:
            status, answer = _exchange(self.socket_path, method, target, body, timeout_s)
        except PermissionError:
            raise NotAuthorised(self.socket_path) from None
        except (OSError, http.client.HTTPException) as error:
            raise Unreachable(self.socket_path, _reason(error)) from error
        document = json.loads(answer)
        if status >= FIRST_ERROR_STATUS:
            raise ProblemReported(document)
        return document["data"]


class _Connection(http.client.HTTPConnection):
    """HTTP over a Unix socket."""

    def __init__(self, path: Path, timeout_s: float | None) -> None:
        super().__init__("hitless", timeout=timeout_s)
        self._path = path

    def connect(self) -> None:
        self.sock: socket.socket = connect(self._path, timeout_s=self.timeout)


def _exchange(path: Path, method: str, target: str, body: Any, timeout_s: float | None) -> tuple[int, bytes]:
    connection = _Connection(path, timeout_s)
    try:
        content = None if body is None else json.dumps(body)
        headers = {"content-type": "application/json", "connection": "close"}
        with suppress(BrokenPipeError):  # an answer may be there already: that the control plane can take no request
            connection.request(method, target, body=content, headers=headers)
        response = connection.getresponse()
        return response.status, response.read()
    finally:
        connection.close()


def _reason(error: Exception) -> str:
    match error:
        case FileNotFoundError():
            return "the socket does not exist"
        case ConnectionRefusedError():
            return "nobody listens on the socket"
        case TimeoutError():
            return "it did not answer in time"
        case _:
            return f"the connection broke: {str(error) or type(error).__name__}"
