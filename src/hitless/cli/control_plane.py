from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from typing import Annotated

from cyclopts import Parameter

from hitless.cli.confirm import confirm
from hitless.cli.faults import PROJECT_FILE
from hitless.cli.figures import count, moment
from hitless.cli.outcome import DONE
from hitless.cli.roof import roof
from hitless.cli.session import DEFAULTS, Common, Session
from hitless.cli.sight import open_requests
from hitless.view.models import ControlPlaneView, ServiceView


def up(*, common: Common = DEFAULTS) -> int:
    """Run the control plane in the foreground; start or adopt Envoy and instances.

    Args:
        common: Options of every command.
    """
    session = Session(common)
    output = session.output

    def tell(view: ControlPlaneView) -> None:
        if output.json:
            output.document("control-plane", view)
        else:
            for line in _arrival(view):
                output.raw(line)

    return roof().serve(session.directory / PROJECT_FILE, on_ready=tell)


def down(*, yes: Annotated[bool, Parameter(alias="-y")] = False, common: Common = DEFAULTS) -> int:
    """End everything: instances, Envoy, the control plane. Users are cut off.

    Args:
        yes: Do not ask.
        common: Options of every command.
    """
    session = Session(common)
    services = session.client.services()
    consequence = _consequence(services)
    if not yes:
        confirm(session.output, f"ends {consequence}. Users are cut off", command="hitless down")
    session.output.narrate(f"ending {consequence}")
    session.client.down()
    if common.json:
        session.output.document("down", None)
    else:
        session.output.raw("everything has ended")
    return DONE


def _arrival(view: ControlPlaneView) -> Iterator[str]:
    yield f"hitless {view['version']} runs as process {view['pid']} for {view['directory']}"
    envoy = f"Envoy {view['envoy']}"
    yield f"{envoy} as process {view['envoy_pid']}" if view["envoy_pid"] else envoy
    started_at = moment(view["started_at"])
    for service in view["services"]:
        yield f"  {service['name']} on {service['listen']}: {_service_arrival(service, started_at)}"
    yield "Ctrl-C ends the control plane alone, services go on; hitless down ends everything"


def _service_arrival(service: ServiceView, started_at: datetime) -> str:
    """Say what was adopted: whatever was there before this control plane."""
    instances = service["instances"]
    if not instances:
        return f"nothing runs; begin with: hitless deploy {service['name']} --version VERSION"
    adopted = sum(moment(one["since"]) < started_at for one in instances)
    started = len(instances) - adopted
    parts = [f"{count(adopted, 'instance')} adopted"] if adopted else []
    parts += [f"{count(started, 'instance')} started"] if started else []
    return f"{service['stable'] or 'no version'} {service['health']}, {', '.join(parts)}"


def _consequence(services: list[ServiceView]) -> str:
    instances = sum(len(service["instances"]) for service in services)
    streams = sum(open_requests(service) for service in services)
    names = ", ".join(service["name"] for service in services) or "no service"
    running = f"{count(instances, 'instance')}, {count(streams, 'open request')}"
    return f"{names}: {running}, Envoy and the control plane"
