from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated

from cyclopts import Parameter

from hitless.cli.confirm import confirm
from hitless.cli.figures import count, moment, stamp
from hitless.cli.outcome import DONE
from hitless.cli.session import DEFAULTS, Common, Session
from hitless.cli.waiting import actor
from hitless.view.models import EnvoyView


def status(*, common: Common = DEFAULTS) -> int:
    """Show Envoy's process, in what it is not the one that would be started now, and what it has replaced.

    Args:
        common: Options of every command.
    """
    session = Session(common)
    _show(session, session.client.envoy())
    return DONE


def restart(
    *,
    cut: bool = False,
    yes: Annotated[bool, Parameter(alias="-y")] = False,
    reason: str | None = None,
    common: Common = DEFAULTS,
) -> int:
    """Exchange Envoy for the one that would be started now, without a failed request.

    Args:
        cut: Cut streams, or everything for a second, where there is no other way.
        yes: With --cut, do not ask.
        reason: Why, for the journal.
        common: Options of every command.
    """
    session = Session(common)
    if cut and not yes:
        consequence = "may cut streams, and everything for about a second where the two Envoys cannot hand over"
        confirm(session.output, consequence, command="hitless envoy restart --cut")
    _show(session, session.client.restart_envoy(cut=cut, actor=actor(), reason=reason))
    return DONE


def _show(session: Session, view: EnvoyView) -> None:
    if session.output.json:
        session.output.document("envoy", view)
        return
    for line in _lines(view):
        session.output.raw(line)


def _lines(view: EnvoyView) -> Iterator[str]:
    process = f" as process {view['pid']}, generation {view['epoch']}" if view["pid"] else ""
    yield f"Envoy {view['version'] or '(version not known)'} {view['status']}{process}"
    if view["problem"]:
        yield f"why  {view['problem']}"
    yield from (f"note {difference}" for difference in view["differences"])
    for one in view["earlier"]:
        open_now = one["open_connections"]
        left = "an unknown number of connections" if open_now is None else count(open_now, "connection")
        until = stamp(moment(one["until"]))
        yield f"note process {one['pid']}, replaced, has {left} to instances; ends at the latest at {until}"
    yield from (f"next {command}" for command in view["next"])
