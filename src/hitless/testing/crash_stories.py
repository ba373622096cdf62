"""What can happen to a service, told once: played in virtual time and on the real thing, with the controller dying.

All stories together make every move of the rollout machine happen (a test insists). Each begins and ends with a service
that is whole: no rollout is going on, and exactly what is wanted runs and serves.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Literal, Protocol

from hitless.analysis.ruling import Call
from hitless.rollout.spec import Version
from hitless.rollout.state import Rollout, RolloutPhase, ServiceState
from hitless.rollout.world import EndpointState

Verb = Literal["promote", "promote_full", "pause", "resume", "abort", "undo"]
Condition = Callable[[ServiceState], bool]


class Life(Protocol):
    """One service's life, as a story steers it. What is asked too late is refused, and that is no fault."""

    @property
    def state(self) -> ServiceState:
        """The durable state."""
        ...

    def deploy(
        self, *, is_bad: bool = False, is_examined: bool = False, needs_schema: bool = False, supersede: bool = False
    ) -> None:
        """Begin a rollout to a version that is new, with a preflight if it is to be examined.

        One that needs a schema asks for it, and for its switch at the end.

        Instances of a bad one end soon after their start.
        """
        ...

    def lose_store(self) -> None:
        """Have the controller die and its store with it; the next one takes up what runs."""
        ...

    def adopt(self, version: Version) -> None:
        """Say that this is the version to keep."""
        ...

    def ask(self, verb: Verb) -> None:
        """Ask something of the rollout."""
        ...

    def fail_one(self, version: Version) -> None:
        """End one instance of a version that is in rotation; nothing happens if there is none."""
        ...

    def rule(self, call: Call) -> None:
        """Have the rollout's judge say this from now on."""
        ...

    def until(self, condition: Condition) -> None:
        """Let time pass until the condition holds.

        Raises:
            TimeoutError: it never came.
        """
        ...


def is_idle(state: ServiceState) -> bool:
    """Tell whether no rollout is going on."""
    return state.phase is RolloutPhase.IDLE


def is_whole(state: ServiceState) -> bool:
    """Tell whether no rollout is going on and exactly what is wanted was decided on and is in rotation."""
    wanted = {version: count for world in state.desired.values() for version, count in world.pools.items()}
    return is_idle(state) and wanted == in_rotation(state) and len(state.instances) == sum(wanted.values())


def in_rotation(state: ServiceState) -> dict[Version, int]:
    """Count instances by version that the table decided last sends requests to, and nothing else lists."""
    return {
        version: sum(end.state is EndpointState.ACTIVE for end in ends.values())
        for table in state.tables.values()
        for version, ends in table.endpoints.items()
    }


def shows_candidate(state: ServiceState) -> bool:
    """Tell whether the new version is in rotation; as all below, true when the rollout has ended already."""
    return _is_over_or(state, lambda rollout: in_rotation(state).get(rollout.candidate, 0) > 0)


def has_settled(state: ServiceState) -> bool:
    """Tell whether the world is as the stage wants it."""
    return _is_over_or(state, lambda it: it.record.settled_at is not None and it.record.unsettled_at is None)


def has_unsettled(state: ServiceState) -> bool:
    """Tell whether it is not any more."""
    return _is_over_or(state, lambda rollout: rollout.record.unsettled_at is not None)


def was_checked(state: ServiceState) -> bool:
    """Tell whether the stage has settled, and its checks are done where there are any."""
    return _is_over_or(state, lambda it: has_settled(state) and (not _is_asked(it) or _knows_checks(it)))


def has_traffic(state: ServiceState) -> bool:
    """Tell whether the new version gets a share of the traffic."""
    return _is_over_or(state, lambda it: any(table.weight_bp(it.candidate) for table in state.tables.values()))


def was_ruled(state: ServiceState) -> bool:
    """Tell whether the rollout's judge has said something."""
    return _is_over_or(state, lambda rollout: rollout.ruling is not None)


def _is_over_or(state: ServiceState, condition: Callable[[Rollout], bool]) -> bool:
    return is_idle(state) or (state.rollout is not None and condition(state.rollout))


def _is_asked(rollout: Rollout) -> bool:
    stage = rollout.current_stage
    return bool(stage.checks) or stage.is_preflight or stage.asks_database


def _knows_checks(rollout: Rollout) -> bool:
    return rollout.record.checks_passed is not None


def begin(life: Life) -> None:
    """Make a service that has an earlier version to return to."""
    life.until(is_whole)
    while life.state.previous is None:
        life.deploy()
        life.until(is_whole)


def _completes(life: Life) -> None:
    life.deploy()


def _is_undone(life: Life) -> None:
    life.ask("undo")


def _is_promoted(life: Life) -> None:
    life.deploy()
    life.until(has_settled)
    life.ask("promote")
    life.ask("promote_full")


def _pauses(life: Life) -> None:
    life.deploy()
    life.ask("pause")
    life.until(has_settled)
    life.ask("resume")


def _is_promoted_while_paused(life: Life) -> None:
    life.deploy()
    life.ask("pause")
    life.until(was_checked)
    life.ask("promote_full")


def _is_aborted_while_paused(life: Life) -> None:
    life.deploy()
    life.ask("pause")
    life.until(shows_candidate)
    life.ask("abort")


def _is_undone_while_paused(life: Life) -> None:
    life.deploy()
    life.ask("pause")
    life.ask("undo")


def _is_superseded_while_paused(life: Life) -> None:
    life.deploy()
    life.ask("pause")
    life.deploy(supersede=True)


def _is_aborted(life: Life) -> None:
    life.deploy()
    life.until(shows_candidate)
    life.ask("abort")


def _is_undone_on_the_way(life: Life) -> None:
    life.deploy()
    life.ask("undo")


def _is_superseded(life: Life) -> None:
    life.deploy()
    life.until(shows_candidate)
    life.deploy(supersede=True)


def _is_superseded_on_the_way_back(life: Life) -> None:
    life.deploy()
    life.until(shows_candidate)
    life.ask("abort")
    life.deploy(supersede=True)


def _is_bad(life: Life) -> None:
    life.deploy(is_bad=True)


def _is_bad_while_paused(life: Life) -> None:
    life.deploy(is_bad=True)
    life.ask("pause")


def _loses_an_instance_on_the_way(life: Life) -> None:
    life.deploy()
    life.until(has_settled)
    _fail_candidate(life)
    life.until(has_unsettled)


def _loses_an_instance_while_paused(life: Life) -> None:
    life.deploy()
    life.ask("pause")
    life.until(has_settled)
    _fail_candidate(life)
    life.until(has_unsettled)
    life.until(has_settled)
    life.ask("resume")


def _loses_instances_on_the_way_back(life: Life) -> None:
    life.deploy()
    life.until(shows_candidate)
    life.ask("abort")
    _fail_candidate(life)
    stable = life.state.stable
    if stable is not None:
        life.fail_one(stable)


def _loses_an_instance(life: Life) -> None:
    stable, named = life.state.stable, life.state.named
    assert stable is not None
    life.fail_one(stable)
    life.until(lambda state: state.named > named and is_whole(state))


def _is_examined(life: Life) -> None:
    life.deploy(is_examined=True)


def _is_examined_while_paused(life: Life) -> None:
    life.deploy(is_examined=True)
    life.ask("pause")
    life.until(was_checked)
    life.ask("resume")


def _needs_a_schema(life: Life) -> None:
    life.deploy(needs_schema=True)


def _needs_a_schema_while_paused(life: Life) -> None:
    life.deploy(needs_schema=True)
    life.ask("pause")
    life.until(was_checked)
    life.ask("resume")


def _is_judged(life: Life) -> None:
    life.rule(Call.HOLD)
    life.deploy()
    life.until(was_ruled)
    life.rule(Call.PROMOTE)


def _is_found_worse(life: Life) -> None:
    life.deploy()
    life.until(has_traffic)
    life.rule(Call.ROLLBACK)


def _is_found_worse_while_paused(life: Life) -> None:
    life.rule(Call.HOLD)
    life.deploy()
    life.until(has_traffic)
    life.ask("pause")
    life.rule(Call.ROLLBACK)


def _is_adopted(life: Life) -> None:
    stable = life.state.stable
    assert stable is not None
    life.lose_store()
    life.adopt(stable)


def _fail_candidate(life: Life) -> None:
    rollout = life.state.rollout
    if rollout is not None and not is_idle(life.state):
        life.fail_one(rollout.candidate)


STORIES: Mapping[str, Callable[[Life], None]] = {
    "completes": _completes,
    "is undone": _is_undone,
    "is promoted": _is_promoted,
    "pauses": _pauses,
    "is promoted while paused": _is_promoted_while_paused,
    "is aborted while paused": _is_aborted_while_paused,
    "is undone while paused": _is_undone_while_paused,
    "is superseded while paused": _is_superseded_while_paused,
    "is aborted": _is_aborted,
    "is undone on the way": _is_undone_on_the_way,
    "is superseded": _is_superseded,
    "is superseded on the way back": _is_superseded_on_the_way_back,
    "is bad": _is_bad,
    "is bad while paused": _is_bad_while_paused,
    "loses an instance on the way": _loses_an_instance_on_the_way,
    "loses an instance while paused": _loses_an_instance_while_paused,
    "loses instances on the way back": _loses_instances_on_the_way_back,
    "loses an instance": _loses_an_instance,
    "is examined": _is_examined,
    "is examined while paused": _is_examined_while_paused,
    "needs a schema": _needs_a_schema,
    "needs a schema while paused": _needs_a_schema_while_paused,
    "is judged": _is_judged,
    "is found worse": _is_found_worse,
    "is found worse while paused": _is_found_worse_while_paused,
    "is adopted": _is_adopted,
}
"""By what becomes of the rollout, or of the service."""

HARMS_USERS = frozenset(name for name in STORIES if name.startswith("loses"))
"""Those in which an instance in rotation ends: what it was working on may be lost, whoever controls it."""


ONLY_IN_VIRTUAL_TIME = frozenset(
    {
        "is examined",
        "is examined while paused",
        "needs a schema",
        "needs a schema while paused",
        "is judged",
        "is found worse",
        "is found worse while paused",
        "is adopted",
    }
)
"""A preflight, a verdict and a schema take long, and a lost store takes the books along: on the real thing they have
tests of their own."""


def play(name: str, life: Life) -> None:
    """Play one story from beginning to end."""
    begin(life)
    STORIES[name](life)
    life.until(is_whole)
