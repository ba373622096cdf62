from __future__ import annotations

from typing import Annotated

from cyclopts import Parameter

from hitless.cli.client import Verb
from hitless.cli.faults import ProblemReported
from hitless.cli.outcome import DONE, Wish
from hitless.cli.session import DEFAULTS, Common, Session
from hitless.cli.sight import is_finished, sight_of
from hitless.cli.tables import rollouts_table
from hitless.cli.tree import rollout_picture, service_picture
from hitless.cli.waiting import WAIT, WaitOptions, actor, conclude, show_begun
from hitless.cli.watch import wait_for_outcome
from hitless.errors import UnknownRollout
from hitless.view.models import RolloutView

NOT_FOUND = 404


def list_rollouts(
    name: str | None = None,
    /,
    *,
    limit: Annotated[int, Parameter(alias="-n")] = 20,
    before: str | None = None,
    common: Common = DEFAULTS,
) -> int:
    """List rollouts, newest first.

    Args:
        name: Only this service's.
        limit: How many at most, up to 1,000.
        before: Only those begun before this rollout: the last line of the page before.
        common: Options of every command.
    """
    session = Session(common)
    rollouts = session.client.rollouts(name, limit=limit, before=before)
    if common.json:
        session.output.document("rollouts", rollouts)
    elif rollouts:
        session.output.show(rollouts_table(rollouts, session.output.canvas(session.clock)))
        if len(rollouts) == limit:
            command = " ".join(["hitless rollout list", *([name] if name else []), f"--before {rollouts[-1]['id']}"])
            session.output.narrate(f"older ones: {command}")
    elif before:
        session.output.narrate(f"no rollout before {before}")
    else:
        session.output.narrate("no rollout yet; begin one: hitless deploy NAME --version VERSION")
    return DONE


def get(
    name: str | None = None, /, *, watch: Annotated[bool, Parameter(alias="-w")] = False, common: Common = DEFAULTS
) -> int:
    """Show one rollout.

    Args:
        name: Rollout, or a service for its newest one; not needed when the project has only one service.
        watch: Follow it to its end; the exit code tells how it ended.
        common: Options of every command.
    """
    session = Session(common)
    rollout = _find(session, name)
    if watch:
        return wait_for_outcome(session, rollout, wish="forward", timeout=None)
    if common.json:
        session.output.document("rollout", rollout)
    else:
        _show(session, rollout)
    return DONE


def promote(
    name: str | None = None,
    /,
    *,
    full: bool = False,
    stage: int | None = None,
    reason: str | None = None,
    wait: WaitOptions = WAIT,
    common: Common = DEFAULTS,
) -> int:
    """Go on to the next stage now: waive the hold or approve; checks and readiness are not waived.

    Args:
        name: Service; not needed when the project has only one.
        full: Go on to the end, through all stages.
        stage: The stage that was looked at, from 1; refused (exit 7) if the rollout has gone on to another meanwhile.
        reason: Why, for the journal.
        wait: How to wait.
        common: Options of every command.
    """
    verb: Verb = "promote_full" if full else "promote"
    return _act(common, name, verb, reason, wish="forward", wait=wait, stage=None if stage is None else stage - 1)


def pause(name: str | None = None, /, *, reason: str | None = None, common: Common = DEFAULTS) -> int:
    """Stay in the present stage until `resume`; instances that die are still replaced.

    Args:
        name: Service; not needed when the project has only one.
        reason: Why, for the journal.
        common: Options of every command.
    """
    return _act(common, name, "pause", reason)


def resume(name: str | None = None, /, *, reason: str | None = None, common: Common = DEFAULTS) -> int:
    """Go on after `pause`.

    Args:
        name: Service; not needed when the project has only one.
        reason: Why, for the journal.
        common: Options of every command.
    """
    return _act(common, name, "resume", reason)


def abort(
    name: str | None = None, /, *, reason: str | None = None, wait: WaitOptions = WAIT, common: Common = DEFAULTS
) -> int:
    """Take the new version back, and wait until the service is healthy on the old one.

    Args:
        name: Service; not needed when the project has only one.
        reason: Why, for the journal.
        wait: How to wait.
        common: Options of every command.
    """
    return _act(common, name, "abort", reason, wish="back", wait=wait)


def undo(
    name: str | None = None, /, *, reason: str | None = None, wait: WaitOptions = WAIT, common: Common = DEFAULTS
) -> int:
    """Take back what completed last: return to the version, or the settings, before, by the fastest safe way.

    Args:
        name: Service; not needed when the project has only one.
        reason: Why, for the journal.
        wait: How to wait.
        common: Options of every command.
    """
    return _act(common, name, "undo", reason, wish="forward", wait=wait)


def _act(
    common: Common,
    name: str | None,
    verb: Verb,
    reason: str | None,
    *,
    wish: Wish = "forward",
    wait: WaitOptions | None = None,
    stage: int | None = None,
) -> int:
    """Carry out a verb; without `wait` it is done as soon as it is decided."""
    session = Session(common)
    expected = {} if stage is None else {"stage": stage}
    rollout = session.client.act(session.service_name(name), verb, actor=actor(), reason=reason, **expected)
    if wait is None:
        return show_begun(session, rollout)
    is_way_back = rollout["phase"] == "rolling_back"  # undo of a rollout that is going on takes that one back
    return conclude(session, rollout, wish="back" if is_way_back else wish, options=wait)


def _find(session: Session, name: str | None) -> RolloutView:
    """Find a rollout by its own name, or a service's newest one."""
    service = session.service_name(None) if name is None else name
    try:
        if name is not None:
            return session.client.rollout(name)
    except ProblemReported as error:
        if error.problem["status"] != NOT_FOUND:
            raise
    if newest := session.client.rollouts(service, limit=1):
        return session.client.rollout(newest[0]["id"])
    raise UnknownRollout(service)


def _show(session: Session, rollout: RolloutView) -> None:
    """Show a rollout that goes on with its service, a past one alone."""
    canvas, output = session.output.canvas(session.clock), session.output
    if is_finished(rollout):
        output.show(rollout_picture(rollout, canvas))
    else:
        output.show(service_picture(sight_of(session.client.service(rollout["service"])), canvas, output.console))
