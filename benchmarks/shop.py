"""The sample shop as a real project: `hitless up` as a process, asked over its socket."""

from __future__ import annotations

import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType

from hitless.cli.client import Client
from hitless.cli.place import socket_path
from hitless.rollout.spec import Address
from hitless.testing.live import LiveProject, free_ports
from hitless.view.models import ServiceView

SHOP = Path(__file__).parents[1] / "examples" / "shop"
NAME = "shop"
LEAST_PATH = "/product/1"
_POLL_S = 0.02
_WITHIN_S = 90.0

USUAL_STEPS = "[{weight: 1%, hold: 2s}, {weight: 25%, hold: 2s}, {weight: 100%}]"
"""Held long enough for a command to come in time: it takes half a second to start."""

_CONFIGURATION = """
service: shop
listen: 127.0.0.1:{port}
instances: 2
run:
  command: ["{python}", -m, shop, --port, "{{port}}"]
  directory: "{shop}"
  environment: {{SHOP_DATA: "{data}"}}
{tls}health:
  {{live: /health/live, ready: /health/ready, start_deadline: {start_deadline}, max_failures: {max_failures}}}
drain: {{requests: 1s, streams: 2h}}
preflight: off
traffic: {{sticky: {{cookie: hitless}}, keep_alive: 5s}}
strategy:
  rolling: {{max_surge: 1, max_unavailable: 0}}
  blue_green: {{preview: "127.0.0.1:{preview}", checks: [{{path: /}}], keep_warm: {keep_warm}}}
  canary: {{steps: {steps}}}
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Shop:
    """A live project with the shop's first version deployed."""

    project: LiveProject
    client: Client

    @property
    def listen(self) -> Address:
        """Where users reach it."""
        host, _, port = self.view()["listen"].rpartition(":")
        return Address(host=host, port=int(port))

    def view(self) -> ServiceView:
        """Look at the service now."""
        return self.client.service(NAME)

    def deploy(self, version: str, strategy: str) -> None:
        """Begin a rollout."""
        actor = "user:bench"
        self.client.deploy(NAME, version=version, strategy=strategy, supersede=False, actor=actor, reason=None)

    def until(self, condition: Callable[[ServiceView], bool]) -> ServiceView:
        """Wait until the service looks like that.

        Raises:
            TimeoutError: it does not.
        """
        deadline = time.monotonic() + _WITHIN_S
        while not condition(view := self.view()):
            if time.monotonic() > deadline:
                raise TimeoutError(f"not reached: {view}")
            time.sleep(_POLL_S)
        return view


def is_settled(view: ServiceView) -> bool:
    """Tell whether no rollout is going on and everything is as wanted."""
    rollout = view["rollout"]
    return view["health"] == "healthy" and (rollout is None or rollout["state"] != "running")


def routed_bp(view: ServiceView, version: str) -> int | None:
    """Return a version's acknowledged share."""
    return next((one["routed_bp"] for one in view["versions"] if one["version"] == version), None)


@contextmanager
def shop(
    *,
    steps: str = USUAL_STEPS,
    keep_warm: str = "2s",
    start_deadline: str = "30s",
    max_failures: int = 3,
    tls: tuple[Path, Path] | None = None,
    environment: Mapping[str, str] = MappingProxyType({}),
) -> Iterator[Shop]:
    """Bring the shop up with version v1, and down at the end; `tls` are certificate and key."""
    with tempfile.TemporaryDirectory(prefix="hitless-bench-") as folder:
        directory = Path(folder)
        data = directory / "data"
        data.mkdir()
        port, preview = free_ports(2)
        configuration = _CONFIGURATION.format(
            port=port,
            preview=preview,
            python=sys.executable,
            shop=SHOP,
            data=data,
            steps=steps,
            keep_warm=keep_warm,
            start_deadline=start_deadline,
            max_failures=max_failures,
            tls=f"tls: {{cert: {tls[0]}, key: {tls[1]}}}\n" if tls else "",
        )
        with LiveProject(
            directory=directory / "project", configuration=configuration, environment=environment
        ) as project:
            found = Shop(project=project, client=Client(socket_path(project.directory)))
            found.deploy("v1", "rolling")
            found.until(is_settled)
            yield found
