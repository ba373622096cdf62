from __future__ import annotations

import asyncio
import json
from typing import Annotated

from cyclopts import Parameter

from hitless.cli.faults import UnknownInstance
from hitless.cli.outcome import DETACHED, DONE
from hitless.cli.place import STATE_DIRECTORY
from hitless.cli.roof import LogLine, roof
from hitless.cli.session import DEFAULTS, Common, Session


def logs(
    name: str | None = None,
    /,
    *,
    instance: str | None = None,
    lines: Annotated[int, Parameter(alias="-n")] = 50,
    follow: Annotated[bool, Parameter(alias="-f")] = False,
    common: Common = DEFAULTS,
) -> int:
    """Show what instances wrote to stdout and stderr. Reads files: works without a control plane.

    Args:
        name: Only this service's instances.
        instance: Only this one.
        lines: How many of each instance's last lines.
        follow: Go on with new lines, also of instances that start later; Ctrl-C ends it.
        common: Options of every command.
    """
    session = Session(common)
    try:
        asyncio.run(_print_logs(session, name, instance, lines, follow=follow))
    except KeyboardInterrupt:
        return DETACHED
    return DONE


async def _print_logs(session: Session, name: str | None, instance: str | None, tail: int, *, follow: bool) -> None:
    directory = session.directory / STATE_DIRECTORY
    is_empty = True
    async for line in roof().read_logs(directory, service=name, instance=instance, tail=tail, follow=follow):
        is_empty = False
        session.output.raw(_rendered(line, as_json=session.output.json))
    if is_empty and instance is not None:
        raise UnknownInstance(instance)


def _rendered(line: LogLine, *, as_json: bool) -> str:
    if as_json:
        return json.dumps({"instance": line.instance, "text": line.text}, ensure_ascii=False)
    return f"{line.instance} | {line.text}"
