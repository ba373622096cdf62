"""What follows from what was seen: a short table of rules.

Rules. Each is a function of everything that was seen to a finding, or to None: what was not seen convicts nobody, and
that nothing was seen at all is a finding itself (`never_ready`). A refusal is what would harm users in every rollout
and what hitless cannot make up for; a warning is what it makes up for, or what only matters when something else fails.

To add one: a function here, its name in `RULES`, a row in docs/how-to/preflight.md; a test that it fires, a test that
it does not.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import groupby

from hitless.preflight.finding import Finding, PreflightReport, Severity
from hitless.preflight.seen import Answer, Seen, Start
from hitless.rollout.spec import Sessions

KEEP_ALIVE_TOLERANCE_S = 0.2
"""Envoy lets go a second before the time-out that the settings name; a timer that fires a little early does no harm."""

SIGTERM = 15  # signal(7); a pure room does not ask the system

CLEAN_CODES = {0, 128 + SIGTERM}
"""The second is what shells and the JVM make of SIGTERM."""

LONGEST_LIST = 5


def never_ready(seen: Seen) -> Finding | None:
    """No instance that was started can serve."""
    if any(one.problem is None for one in seen.starts):
        return None
    start = seen.starts[0]
    return Finding(
        rule="never_ready",
        severity=Severity.REFUSAL,
        sentence=f"an instance of {seen.version} did not come up: {start.problem}",
        evidence=_of_start(start, seen),
        remedy=f"read what it wrote: hitless logs {seen.spec.name} --instance {start.instance}",
    )


def not_side_by_side(seen: Seen) -> Finding | None:
    """One instance can serve, and one beside it cannot."""
    failed = [one for one in seen.starts if one.problem is not None]
    if not failed or len(failed) == len(seen.starts):
        return None
    return Finding(
        rule="not_side_by_side",
        severity=Severity.REFUSAL,
        sentence=f"of {len(seen.starts)} instances of {seen.version} side by side, one did not come up: "
        f"{failed[0].problem}",
        evidence=_of_start(failed[0], seen),
        remedy="every rollout runs instances side by side: take ports from PORT or {port}, and give up lock files and "
        "directories that only one process may have; "
        f"read what it wrote: hitless logs {seen.spec.name} --instance {failed[0].instance}",
    )


def ready_before_serving(seen: Seen) -> Finding | None:
    """Readiness says yes while pages fail."""
    for start in seen.starts:
        for path, answers in start.pages.items():
            failed = [one for one in answers if one.is_failure]
            if failed and start.ready_at_s is not None:
                return _ready_before_serving(seen, start, path, answers)
    return None


def _ready_before_serving(seen: Seen, start: Start, path: str, answers: tuple[Answer, ...]) -> Finding:
    served = next((one for one in answers if not one.is_failure), None)
    late = f"until {served.at_s:.1f} s" if served else f"and still {answers[-1].words} at {answers[-1].at_s:.1f} s"
    return Finding(
        rule="ready_before_serving",
        severity=Severity.REFUSAL,
        sentence=f"{seen.spec.health.ready} said ready at {start.ready_at_s or 0:.1f} s, but {path} failed {late}",
        evidence=(*timeline(seen.spec.health.ready, start.ready), *timeline(path, answers)),
        remedy="let readiness answer 503 until what the pages need is connected, loaded and warm"
        if served
        else "let readiness fail while the page does; if it is no page of yours, name real ones under `preflight: "
        "{paths: [...]}`",
    )


def answers_before_application(seen: Seen) -> Finding | None:
    """Something says yes to everything before the application does the talking."""
    for start in seen.starts:
        early = [one for one in start.stray if one.is_success]
        later = [one for one in start.stray if early and one.at_s > early[0].at_s and not one.is_success]
        if early and later:
            return Finding(
                rule="answers_before_application",
                severity=Severity.REFUSAL,
                sentence=f"something answers before the application does: a path that does not exist got "
                f"{early[0].status} at {early[0].at_s:.1f} s, and {later[-1].status or 'no answer'} at "
                f"{later[-1].at_s:.1f} s",
                evidence=(*timeline(seen.spec.health.ready, start.ready), *timeline(start.stray_path, start.stray)),
                remedy="let nothing listen on the port before the application can serve, or let it answer 503",
            )
    return None


def readiness_knows_no_paths(seen: Seen) -> Finding | None:
    """The readiness path is one of many that answer yes to anything."""
    ready, found = seen.spec.health.ready, None
    if seen.spec.preflight is None or ready in seen.spec.preflight.paths:
        return None  # readiness is a page itself: what it says is what users get
    for start in seen.starts:
        if start.stray and start.ready_at_s is not None and all(one.is_success for one in start.stray):
            found = start
    if found is None:
        return None
    return Finding(
        rule="readiness_knows_no_paths",
        severity=Severity.WARNING,
        sentence=f"{ready} may be no readiness path at all: every path beside it answers {found.stray[-1].status} too",
        evidence=(*timeline(ready, found.ready), *timeline(found.stray_path, found.stray)),
        remedy="write a handler of its own for readiness, and see that `health.ready` is spelt as in the application",
    )


def liveness_is_readiness(seen: Seen) -> Finding | None:
    """A version that is busy, or whose database is gone, would be ended for it."""
    if seen.spec.health.live is None or seen.spec.health.live != seen.spec.health.ready:
        return None
    return Finding(
        rule="liveness_is_readiness",
        severity=Severity.WARNING,
        sentence=f"liveness and readiness are the same path, {seen.spec.health.ready}",
        evidence=("an instance that is only not ready (dependency away, draining) is ended as if it were dead",),
        remedy="give liveness a path of its own that depends on nothing, or leave `health.live` out",
    )


def ignores_sigterm(seen: Seen) -> Finding | None:
    """Told to end, it goes on as if nothing had been said."""
    ending = seen.ending
    if ending is None or ending.exited_after_s is not None:
        return None
    if ending.still_ready is None or not ending.still_ready.is_success:
        return None
    return Finding(
        rule="ignores_sigterm",
        severity=Severity.REFUSAL,
        sentence=f"it ignores SIGTERM: {ending.waited_s:.1f} s later it ran on and said that it was ready",
        evidence=(f"{seen.spec.health.ready} {ending.still_ready.words} on a new connection after the wait",),
        remedy="handle SIGTERM: finish what is open, then exit; a shell script in front must `exec` the application",
    )


def exits_late(seen: Seen) -> Finding | None:
    """It stops serving, but does not end within what `drain.requests` gives it."""
    ending, given_s = seen.ending, seen.spec.drain.requests_s
    if ending is None or given_s == 0 or ignores_sigterm(seen):
        return None  # whoever gives no time at all does not want to wait
    took_s = ending.waited_s if ending.exited_after_s is None else ending.exited_after_s
    if took_s < given_s:
        return None
    how = "had not ended" if ending.exited_after_s is None else "ended only"
    return Finding(
        rule="exits_late",
        severity=Severity.WARNING,
        sentence=f"it {how} {took_s:.1f} s after SIGTERM, and would have been killed",
        evidence=(f"drain.requests is {given_s:g} s",),
        remedy="end as soon as what is open is finished, or give it longer: `drain: {requests: ...}`",
    )


def cuts_requests(seen: Seen) -> Finding | None:
    """Requests in its hands are not finished."""
    ending = seen.ending
    if ending is None or not ending.cut:
        return None
    return Finding(
        rule="cuts_requests",
        severity=Severity.WARNING,
        sentence=f"SIGTERM cut {len(ending.cut)} of {ending.in_flight} requests in flight",
        evidence=tuple(
            f"{one.path}, under way for {one.age_s:.2f} s at SIGTERM: {one.problem}"
            for one in ending.cut[:LONGEST_LIST]
        ),
        remedy="finish requests on SIGTERM before exiting; hitless empties an instance first, but whoever else ends it "
        "does not, and what outlasts `drain.requests` is cut",
    )


def exits_uncleanly(seen: Seen) -> Finding | None:
    """It ends by a fault."""
    ending = seen.ending
    if ending is None or ending.exited_after_s is None or (ending.code is None and ending.signal is None):
        return None
    if ending.code in CLEAN_CODES or ending.signal == SIGTERM:
        return None
    how = f"with code {ending.code}" if ending.code is not None else f"by signal {ending.signal}"
    return Finding(
        rule="exits_uncleanly",
        severity=Severity.WARNING,
        sentence=f"on SIGTERM it ended {how}",
        evidence=(f"its log ends with: {ending.log}",) if ending.log else (),
        remedy="exit with 0 after a clean end: what is written at the end (buffers, offsets, logs) may be lost",
    )


def leaves_children(seen: Seen) -> Finding | None:
    """Processes outlive it."""
    ending = seen.ending
    if ending is None or not ending.children:
        return None
    return Finding(
        rule="leaves_children",
        severity=Severity.WARNING,
        sentence=f"it left {len(ending.children)} process{'es' if len(ending.children) > 1 else ''} behind",
        evidence=ending.children[:LONGEST_LIST],
        remedy="end children before exiting, and wait for them; hitless ends those that it finds, whatever they are "
        "in the middle of",
    )


def keep_alive_is_shorter(seen: Seen) -> Finding | None:
    """It closes idle connections earlier than the settings say."""
    measured = measured_keep_alive_s(seen)
    if measured is None:
        return None
    return Finding(
        rule="keep_alive_is_shorter",
        severity=Severity.WARNING,
        sentence=f"it closes idle connections after {measured:.1f} s, `traffic.keep_alive` says "
        f"{seen.spec.traffic.keep_alive_s:g} s",
        evidence=("for this version Envoy lets go of them before that, so that no request meets a closing connection",),
        remedy=f"set `traffic: {{keep_alive: {_ms(measured)}}}`, or let the application keep them longer",
    )


def loses_sessions(seen: Seen) -> Finding | None:
    """Sessions live in the process, and nobody said so, or the contrary."""
    if not seen.lost_sessions or seen.spec.sessions is Sessions.IN_PROCESS:
        return None
    lost = seen.lost_sessions[0]
    declared = " although hitless.yaml says `sessions: external`" if seen.spec.sessions is Sessions.EXTERNAL else ""
    return Finding(
        rule="loses_sessions",
        severity=Severity.REFUSAL,
        sentence=f"sessions live in the process and end with it{declared}: cookie `{lost.cookie}`",
        evidence=tuple(
            f"{one.path}: the instance that had set `{one.cookie}` knew it, twice; another instance set a new one"
            for one in seen.lost_sessions[:LONGEST_LIST]
        ),
        remedy="keep sessions outside the process (database, cache, signed cookie with a key that all instances "
        f"share); if they may end: hitless deploy {seen.spec.name} --version {seen.version} --skip-preflight "
        '--reason "..."',
    )


RULES: tuple[Callable[[Seen], Finding | None], ...] = (
    never_ready,
    not_side_by_side,
    ready_before_serving,
    answers_before_application,
    ignores_sigterm,
    loses_sessions,
    readiness_knows_no_paths,
    liveness_is_readiness,
    exits_late,
    cuts_requests,
    exits_uncleanly,
    leaves_children,
    keep_alive_is_shorter,
)


def judge(seen: Seen) -> PreflightReport:
    """Apply all rules."""
    findings = [found for rule in RULES if (found := rule(seen)) is not None]
    findings.sort(key=lambda one: not one.is_refusal)
    return PreflightReport(findings=tuple(findings), keep_alive_s=measured_keep_alive_s(seen))


def measured_keep_alive_s(seen: Seen) -> float | None:
    """Return the application's keep-alive where it is shorter than the settings say."""
    closed_after_s = seen.idle.closed_after_s if seen.idle else None
    if closed_after_s is None or closed_after_s >= seen.spec.traffic.keep_alive_s - KEEP_ALIVE_TOLERANCE_S:
        return None
    return closed_after_s


def not_examined(service: str, problem: str) -> PreflightReport:
    """Refuse a version that could not be examined: nothing passes for lack of evidence."""
    found = Finding(
        rule="not_examined",
        severity=Severity.REFUSAL,
        sentence=f"it could not be examined: {problem}",
        remedy=f"mend that and deploy again, or, if you know better: hitless deploy {service} --skip-preflight",
    )
    return PreflightReport(findings=(found,))


def timeline(path: str, answers: tuple[Answer, ...]) -> Iterator[str]:
    """Say what a path answered, equal answers in a row as one."""
    for words, group in groupby(answers, key=lambda one: one.words):
        run = list(group)
        when = f"at {run[0].at_s:.1f} s" if len(run) == 1 else f"from {run[0].at_s:.1f} s to {run[-1].at_s:.1f} s"
        yield f"{path} {words} {when}"


def _of_start(start: Start, seen: Seen) -> tuple[str, ...]:
    last = tuple(timeline(seen.spec.health.ready, start.ready))[-LONGEST_LIST:]
    return (*last, f"its log ends with: {start.log}") if start.log else last


def _ms(seconds: float) -> str:
    return f"{int(seconds * 1000)}ms"
