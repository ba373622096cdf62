from __future__ import annotations

from typing import Annotated

from cyclopts import Parameter

from hitless.cli.budgets import burning_lines
from hitless.cli.outcome import DONE
from hitless.cli.session import DEFAULTS, Common, Session
from hitless.cli.sight import sight_of
from hitless.cli.tables import problem_lines, services_table
from hitless.cli.tree import service_picture
from hitless.view.models import ServiceView


def status(
    name: str | None = None, /, *, watch: Annotated[bool, Parameter(alias="-w")] = False, common: Common = DEFAULTS
) -> int:
    """Show what runs: versions, traffic, instances, and a rollout that is going on.

    Args:
        name: Only this service; without it, all.
        watch: Follow it; Ctrl-C ends the watch only.
        common: Options of every command.
    """
    session = Session(common)
    services = [session.client.service(name)] if name else session.client.services()
    if watch:
        from hitless.cli.watch import watch_services  # noqa: PLC0415 - a plain `hitless status` must start fast

        return watch_services(session, name)
    if common.json:
        _show_documents(session, services, name)
    else:
        _show_pictures(session, services)
    return DONE


def _show_documents(session: Session, services: list[ServiceView], name: str | None) -> None:
    """Print one service when one was asked for, else a list, whatever its length."""
    if name:
        session.output.document("service", services[0])
    else:
        session.output.document("services", services)


def _show_pictures(session: Session, services: list[ServiceView]) -> None:
    output = session.output
    canvas = output.canvas(session.clock)
    if len(services) == 1:
        output.show(service_picture(sight_of(services[0]), canvas, output.console))
    else:
        output.show(services_table(services, canvas))
        for line in problem_lines(services):
            output.raw(f"why  {line}")
        for line in burning_lines(services, session.clock.now()):
            output.raw(f"burn {line}")
        for notice in dict.fromkeys(one for service in services for one in service.get("notices", ())):
            output.narrate(f"note: {notice}")
