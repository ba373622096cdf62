"""A control plane that follows a script, served on a real Unix socket.

Every frame of the script is the whole present. Whoever waits for a change since the newest frame gets the next one, so
a watch sees every frame once, in order, and no test waits for time to pass.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from hitless.analysis.counts import Second
from hitless.api.server import serve
from hitless.errors import HitlessError, UnknownService, UserError
from hitless.journal.record import Entry, Record, chain, document
from hitless.view.models import (
    ConditionView,
    ControlPlaneView,
    EnvoyView,
    EvidenceView,
    InstanceView,
    JournalRecordView,
    JudgementView,
    ObjectiveView,
    PlanView,
    PreflightView,
    RolloutRowView,
    RolloutView,
    ServiceView,
    StageView,
    VerifyView,
    VersionView,
)

NOON = datetime(2025, 11, 22, 12, 0, 0, tzinfo=UTC)
OLD, NEW = "91b07de", "4f2c1a9"


def at(seconds: float) -> str:
    return (NOON + timedelta(seconds=seconds)).isoformat().replace("+00:00", "Z")


def instance(number: int, version: str, phase: str = "ready", rotation: str = "in", **changes: Any) -> InstanceView:
    view: dict[str, Any] = {
        "id": f"checkout-{version}-{number}",
        "version": version,
        "region": "local",
        "address": f"127.0.0.1:{9000 + number}",
        "phase": phase,
        "rotation": rotation,
        "since": at(-600),
        "open_requests": 0,
        "cause": None,
    }
    return InstanceView(**{**view, **changes})


def version(name: str, role: str, bp: int, *, ready: int = 2, wanted: int = 2, routed: int | None = -1) -> VersionView:
    return VersionView(
        version=name,
        role=role,
        wanted_instances=wanted,
        ready_instances=ready,
        desired_bp=bp,
        routed_bp=bp if routed == -1 else routed,
    )


def condition(name: str, *, met: bool = False, detail: str = "") -> ConditionView:
    return ConditionView(name=name, met=met, detail=detail)


def stage(name: str, state: str = "ahead", until: Sequence[ConditionView] = (), hold_s: float = 0) -> StageView:
    return StageView(
        name=name,
        state=state,
        pools={NEW: 1, OLD: 2},
        weights={NEW: 500, OLD: 9500},
        until=list(until),
        entered_at=at(0) if state == "current" else None,
        hold_s=hold_s,
    )


def preflight(*severities: str) -> PreflightView:
    findings = [
        {
            "rule": f"rule_{number}",
            "severity": severity,
            "sentence": f"it is {severity} number {number}",
            "evidence": ["/ answered 503 at 0.3 s"],
            "remedy": "mend it",
        }
        for number, severity in enumerate(severities, 1)
    ]
    return PreflightView(
        service="checkout",
        version=NEW,
        passed="refusal" not in severities,
        findings=findings,
        keep_alive_s=None,
    )


def evidence(name: str, **changes: Any) -> EvidenceView[str]:
    row: dict[str, Any] = {
        "name": name,
        "title": name,
        "acts": "rollback",
        "log_evidence": 2.9,
        "log_needed": 5.8,
        "weight": 0.3,
        "canary": [3, 812],
        "baseline": [9, 15_430],
        "coverage": 1.0,
        "estimate": {"value": 6.3, "low": 0.6, "high": None, "unit": "odds"},
        "since": None,
        "detail": "",
    }
    return EvidenceView(**{**row, **changes})


def judgement(call: str = "hold", **changes: Any) -> JudgementView:
    sentences = {"hold": "too few requests", "promote": "not worse for 25 %", "rollback": "errors: 9 times the odds"}
    why = {"hold": "too_few", "promote": "not_worse", "rollback": "worse"}
    view: dict[str, Any] = {
        "call": call,
        "why": why[call],
        "row": "errors" if call == "rollback" else None,
        "sentence": sentences[call],
        "detail": sentences[call],
        "next_share_bp": 2_500 if call == "promote" else 0,
        "rows": [],
        "missing_requests": None,
        "missing_s": None,
        "promise": "at most 1 % of rollouts of a version that is no worse are taken back",
        "settings": "0123456789ab",
        "at": at(60),
    }
    return JudgementView(**{**view, **changes})


def rollout(**changes: Any) -> RolloutView:
    view: dict[str, Any] = {
        "id": "checkout-7",
        "service": "checkout",
        "strategy": "canary",
        "baseline": OLD,
        "candidate": NEW,
        "state": "running",
        "phase": "advancing",
        "stage": 0,
        "stages": [
            stage("canary 5 %", "current", [condition("ready"), condition("routed")]),
            stage("only the new version"),
        ],
        "started_at": at(0),
        "finished_at": None,
        "actor": "user:ana",
        "reason": None,
        "cause": None,
        "preflight": None,
        "skipped_preflight": False,
        "judgement": None,
        "next": ["hitless rollout promote checkout", "hitless rollout abort checkout"],
    }
    return RolloutView(**{**view, **changes})


def ended(state: str, **changes: Any) -> RolloutView:
    done = [stage("canary 5 %", "done"), stage("only the new version", "done")]
    return rollout(
        **{"state": state, "phase": "finished", "stages": done, "finished_at": at(72), "next": [], **changes}
    )


def service(**changes: Any) -> ServiceView:
    view: dict[str, Any] = {
        "name": "checkout",
        "listen": "127.0.0.1:8080",
        "health": "healthy",
        "stable": OLD,
        "versions": [version(OLD, "stable", 10_000)],
        "instances": [instance(1, OLD), instance(2, OLD)],
        "rollout": None,
        "objectives": [],
        "problems": [],
        "notices": [],
        "certificate": None,
        "seq": 0,
    }
    return ServiceView(**{**view, **changes})


def objective(name: str = "success_rate", *, page: bool = False, **changes: Any) -> ObjectiveView:
    rate = 21.5 if page else 0.25
    burn = [
        {
            "window": window,
            "short_minutes": short,
            "long": rate,
            "short": rate,
            "factor": factor,
            "urgency": urgency,
            "known": 0.7,
            "burning_since": at(-90) if page and window == "1h" else None,
        }
        for window, short, factor, urgency in (("1h", 5, 14.4, "page"), ("1d", 120, 3.0, "ticket"))
    ]
    view: dict[str, Any] = {
        "name": name,
        "promised": 0.9995,
        "at_most_ms": None,
        "budget_left": 0.874,
        "since": at(-2_520),
        "known": 0.001,
        "burn": burn,
    }
    return ObjectiveView(**{**view, **changes})


def envoy(**changes: Any) -> EnvoyView:
    view: dict[str, Any] = {
        "status": "running",
        "pid": 4712,
        "version": "1.40.0",
        "epoch": 0,
        "problem": None,
        "differences": [],
        "earlier": [],
        "next": [],
    }
    return EnvoyView(**{**view, **changes})


def canary_script() -> list[ServiceView]:
    """A canary that goes in, frame by frame."""
    old = [instance(1, OLD), instance(2, OLD)]
    both = [version(NEW, "candidate", 500), version(OLD, "stable", 9_500)]
    waiting = version(NEW, "candidate", 500, ready=0, routed=0), version(OLD, "stable", 9_500, routed=10_000)
    met = [condition("ready", met=True), condition("routed", met=True)]
    last = [stage("canary 5 %", "done"), stage("only the new version", "current", [condition("drained")])]
    new = [instance(3, NEW), instance(4, NEW)]
    alone = [version(NEW, "stable", 10_000)]
    return [
        service(health="progressing", versions=list(waiting), rollout=rollout()),
        service(
            health="progressing",
            versions=list(waiting),
            instances=[instance(3, NEW, "starting", "out"), *old],
            rollout=rollout(),
        ),
        service(
            health="progressing",
            versions=both,
            instances=[instance(3, NEW), *old],
            rollout=rollout(stages=[stage("canary 5 %", "current", met), stage("only the new version")]),
        ),
        service(
            health="progressing",
            versions=[version(NEW, "candidate", 10_000), version(OLD, "retiring", 0, ready=2, wanted=0)],
            instances=[*new, *(instance(n, OLD, "ready", "draining", open_requests=3) for n in (1, 2))],
            rollout=rollout(stage=1, stages=last),
        ),
        service(stable=NEW, versions=alone, instances=new, rollout=ended("completed")),
    ]


def plan_view_of(service_name: str, candidate: str, strategy: str) -> PlanView:
    return PlanView(
        service=service_name,
        strategy=strategy,
        baseline=OLD,
        candidate=candidate,
        stages=[
            {
                "name": "canary 5 %",
                "pools": {candidate: 1, OLD: 2},
                "weights": {candidate: 500, OLD: 9_500},
                "until": ["ready", "routed", "held 600 s"],
                "hold_s": 600,
            },
            {
                "name": "only the new version",
                "pools": {candidate: 2},
                "weights": {candidate: 10_000},
                "until": ["ready", "routed", "drained"],
                "hold_s": 0,
            },
        ],
        peak_instances=4,
        least_s=600,
        needs=["room for 4 instances, 2 more than usual"],
        next=[f"hitless deploy {service_name} --version {candidate}"],
    )


@dataclass
class ScriptedControlPlane:
    """Plays `frames` (each: all services), answers verbs from `answers`, and keeps what it was asked in `calls`."""

    frames: list[list[ServiceView]] = field(default_factory=lambda: [[service()]])
    past: list[RolloutView] = field(default_factory=list)
    answers: dict[str, RolloutView | HitlessError] = field(default_factory=dict)
    records: list[Record] = field(default_factory=list)
    check: VerifyView | None = None
    measured: tuple[Second, ...] = ()
    found: PreflightView = field(default_factory=preflight)
    calls: list[tuple[str, dict[str, Any]]] = field(default_factory=list)
    on_frame: Callable[[int], None] = lambda _: None
    envoy_view: EnvoyView = field(default_factory=envoy)
    refusal: HitlessError | None = None
    frame: int = 0
    is_down: bool = False

    @classmethod
    def of(cls, script: Sequence[ServiceView], **options: Any) -> ScriptedControlPlane:
        return cls(frames=[[one] for one in script], **options)

    def __post_init__(self) -> None:
        for number, frame in enumerate(self.frames, 1):
            for one in frame:
                one["seq"] = number

    @property
    def present(self) -> list[ServiceView]:
        return self.frames[self.frame]

    async def deploy(self, **asked: Any) -> RolloutView:
        self._find(asked["service"])
        return self._answer("deploy", asked)

    async def preflight(self, **asked: Any) -> PreflightView:
        self._find(asked["service"])
        self.calls.append(("preflight", asked))
        return self.found

    async def act(self, *, verb: str, stage: int | None = None, **asked: Any) -> RolloutView:
        self._find(asked["service"])
        asked |= {} if stage is None else {"stage": stage}
        return self._answer(verb, asked)

    async def services(self) -> list[ServiceView]:
        return self.present

    async def service(self, name: str) -> ServiceView:
        return self._find(name)

    async def seconds(self, *, service: str, minutes: int) -> tuple[Second, ...]:
        self._find(service)
        self.calls.append(("seconds", {"service": service, "minutes": minutes}))
        return self.measured

    async def rollouts(self, service: str | None, *, limit: int, before: str | None = None) -> list[RolloutRowView]:
        names = [one["id"] for one in self._rollouts()]
        older = self._rollouts()[names.index(before) + 1 :] if before else self._rollouts()
        return [row_of(one) for one in older if service in {None, one["service"]}][:limit]

    async def rollout(self, rollout_id: str, /) -> RolloutView:
        for one in self._rollouts():
            if one["id"] == rollout_id:
                return one
        error = UserError(f"no rollout is called {rollout_id!r}")
        error.http_status = 404  # type: ignore[misc]  # the class of a real control plane says so itself
        raise error

    async def journal(self, after: int, subject: str | None, limit: int) -> list[JournalRecordView]:
        fitting = [one for one in self.records if one.seq > after and subject in {None, one.entry.subject}]
        return [JournalRecordView(**document(one)) for one in fitting[:limit]]

    async def verify_journal(self) -> VerifyView:
        return self.check or VerifyView(records=len(self.records), problem=None, seq=None)

    async def control_plane(self) -> ControlPlaneView:
        return ControlPlaneView(
            version="0.1.0",
            pid=4711,
            started_at=at(0),
            directory="/srv/shop",
            envoy="running",
            envoy_pid=4712,
            problems=[],
            services=self.present,
        )

    async def envoy(self) -> EnvoyView:
        return self.envoy_view

    async def restart_envoy(self, **asked: Any) -> EnvoyView:
        self.calls.append(("restart_envoy", asked))
        if self.refusal:
            raise self.refusal
        return self.envoy_view

    async def plan(self, *, service: str, version: str, strategy: str | None) -> PlanView:
        self._find(service)
        return plan_view_of(service, version, strategy or "canary")

    async def changed(self, after_seq: int, timeout_s: float) -> int:
        if self.records:
            return max(self.records[-1].seq, self.frame + 1)
        if after_seq > self.frame and self.frame + 1 < len(self.frames):
            self.frame += 1
            self.on_frame(self.frame)
        elif after_seq > self.frame:
            await asyncio.sleep(timeout_s)
        return self.frame + 1

    async def down(self) -> None:
        self.is_down = True

    def _answer(self, verb: str, asked: dict[str, Any]) -> RolloutView:
        self.calls.append((verb, asked))
        answer = self.answers.get(verb) or self.present[0]["rollout"] or rollout()
        if isinstance(answer, HitlessError):
            raise answer
        return answer

    def _find(self, name: str) -> ServiceView:
        for one in self.present:
            if one["name"] == name:
                return one
        known = ", ".join(one["name"] for one in self.present)
        raise UnknownService(f"no service is called {name!r}", evidence=(f"known: {known}",), hints=("hitless status",))

    def _rollouts(self) -> list[RolloutView]:
        return [*(one["rollout"] for one in self.present if one["rollout"]), *self.past]


def row_of(one: RolloutView) -> RolloutRowView:
    return RolloutRowView(**{name: one[name] for name in RolloutRowView.__annotations__})  # type: ignore[literal-required, typeddict-item]


def chained(*types: str) -> list[Record]:
    """Chain records of these types, all about checkout."""
    records: list[Record] = []
    for number, kind in enumerate(types):
        entry = Entry(
            at=NOON + timedelta(seconds=number),
            type=kind,
            subject="service/checkout" if number % 2 == 0 else "service/search",
            actor="user:ana",
            data={"version": NEW},
        )
        records.append(chain(entry, after=records[-1] if records else None))
    return records


@contextmanager
def serving(control: ScriptedControlPlane, socket_path: Path) -> Iterator[Callable[[], None]]:
    """Serve from a thread of its own; yields what ends it early."""
    ready, loops = threading.Event(), []
    stopping = asyncio.Event()

    async def run() -> None:
        loops.append(asyncio.get_running_loop())
        await serve(control, socket_path, stopping=stopping, on_ready=ready.set)

    thread = threading.Thread(target=lambda: asyncio.run(run()))
    thread.start()

    def stop() -> None:
        if thread.is_alive():
            loops[0].call_soon_threadsafe(stopping.set)
            thread.join(20)
        assert not thread.is_alive()

    try:
        assert ready.wait(20)
        yield stop
    finally:
        stop()
