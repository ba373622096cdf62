"""Scenarios: commands (`> ...`) and the whole transcript of what was decided.

`pytest --rewrite` writes the transcripts anew; read the diff then.
"""

from __future__ import annotations

import shlex
from collections.abc import Callable
from pathlib import Path

import pytest

from hitless.analysis.ruling import Call, Ruling, Why
from hitless.errors import Refused
from hitless.preflight.finding import Finding, PreflightReport, Severity
from hitless.rollout import events, inputs
from hitless.rollout.spec import (
    Address,
    Amount,
    AnalysisSpec,
    BlueGreenSpec,
    CanarySpec,
    CanaryStep,
    ChangeSpec,
    CheckSpec,
    DatabaseSpec,
    DrainSpec,
    InstanceId,
    PreflightSpec,
    RollingSpec,
    RunSpec,
    ServiceSpec,
    Sessions,
    StrategyName,
    StrategySpecs,
    SwitchWhen,
    TrafficSpec,
    Undecided,
    Version,
)
from hitless.rollout.state import RolloutPhase
from hitless.rollout.world import Answers, EndpointState, Table
from hitless.schema.release import DatabaseReport, Verdict
from hitless.testing.simulation import BEGINNING, Behaviour, Simulation

SCENARIOS = sorted(Path(__file__).parent.glob("*.txt"))
ACTOR = "user:ana"


@pytest.mark.parametrize("path", SCENARIOS, ids=lambda path: path.stem)
def test_scenario(path: Path, request: pytest.FixtureRequest) -> None:
    written = path.read_text()
    played = Player().play(written)
    if request.config.getoption("--rewrite"):
        path.write_text(played)
    assert played == written


class Player:
    def __init__(self) -> None:
        self.simulation = Simulation()
        self.spec = _service()
        self.told = 0
        self.backup = self.simulation.state

    def play(self, text: str) -> str:
        lines: list[str] = []
        for line in text.splitlines():
            if line.startswith("#") or (not line and (not lines or lines[-1])):
                lines.append(line)
            elif line.startswith("> "):
                lines += [line, *self._answer(line[2:])]
        return "\n".join(lines).rstrip() + "\n"

    def _answer(self, line: str) -> list[str]:
        verb, *words = shlex.split(line)
        options = dict(word.split("=", 1) for word in words if "=" in word)
        names = [word for word in words if "=" not in word]
        handler: Callable[[list[str], dict[str, str]], None] = getattr(self, f"do_{verb}")
        try:
            handler(names, options)
        except Refused as refused:
            return [f"    {refused.code} {refused.message}"]
        return [*self._new_events(), *(f"    BROKEN {one}" for one in self.simulation.violations)]

    def do_service(self, _: list[str], options: dict[str, str]) -> None:
        self.spec = _service(**options)

    def do_behave(self, names: list[str], options: dict[str, str]) -> None:
        values = {key: None if value == "never" else float(value) for key, value in options.items()}
        streams = int(values.pop("streams", 0) or 0)
        self.simulation.behaviours[Version(names[0])] = Behaviour(streams=streams, **values)  # type: ignore[arg-type]

    def do_deploy(self, names: list[str], options: dict[str, str]) -> None:
        self.simulation.ask(
            inputs.Deploy(
                actor=ACTOR,
                version=Version(names[0]),
                spec=self.spec,
                strategy=StrategyName(options.get("strategy", "rolling")),
                supersede="supersede" in names,
                skip_preflight="skip_preflight" in names,
            )
        )

    def do_ask(self, names: list[str], values: dict[str, str]) -> None:
        kind = getattr(inputs, names[0].capitalize())
        options: dict[str, object] = {"to_the_end": True} if "to_the_end" in names else {}
        if "stage" in values:
            options["stage"] = int(values["stage"]) - 1
        self.simulation.ask(kind(actor=ACTOR, **options))

    def do_backup(self, _: list[str], __: dict[str, str]) -> None:
        self.backup = self.simulation.state

    def do_forget(self, names: list[str], _: dict[str, str]) -> None:
        self.simulation.forget(back_to=self.backup if "restore" in names else None)
        self.told = 0

    def do_checks(self, names: list[str], _: dict[str, str]) -> None:
        self.simulation.checks = tuple(names)

    def do_preflight(self, names: list[str], options: dict[str, str]) -> None:
        """Decide what preflights find from now on: `goes_on`, or RULE=SEVERITY and what they measure."""
        keep_alive_s = options.pop("keep_alive", None)
        findings = tuple(
            Finding(rule=rule, severity=Severity(severity), sentence=f"it {rule}", remedy="mend it")
            for rule, severity in options.items()
        )
        report = PreflightReport(findings=findings, keep_alive_s=float(keep_alive_s) if keep_alive_s else None)
        self.simulation.preflight = None if names == ["goes_on"] else report

    def do_database(self, names: list[str], _: dict[str, str]) -> None:
        """Decide what becomes of what databases are asked: `goes_on`, `ready`, or VERDICT CAUSE."""
        verdict, *cause = names
        report = DatabaseReport(verdict=Verdict(verdict), cause=" ".join(cause)) if verdict != "goes_on" else None
        self.simulation.database = report

    def do_judge(self, names: list[str], options: dict[str, str]) -> None:
        """Decide what judges say from now on: `nothing`, or CALL WHY SENTENCE, and `share=PERCENT` that it is for."""
        if names == ["nothing"]:
            self.simulation.ruling = None
            return
        call, why, sentence = names
        share_bp = int(float(options.get("share", "0")) * 100)
        self.simulation.ruling = Ruling(call=Call(call), why=Why(why), sentence=sentence, next_share_bp=share_bp)

    def do_run(self, names: list[str], _: dict[str, str]) -> None:
        if names == ["until", "idle"]:
            self.simulation.run_until_idle()
        else:
            self.simulation.run(float(names[0]))

    def do_tick(self, names: list[str], _: dict[str, str]) -> None:
        for _count in range(int(names[0]) if names else 1):
            self.simulation.tick()

    def do_crash(self, names: list[str], _: dict[str, str]) -> None:
        self.simulation.crash(InstanceId(names[0]))

    def do_unready(self, names: list[str], _: dict[str, str]) -> None:
        self.simulation.make_unready(InstanceId(names[0]))

    def do_answers(self, names: list[str], _: dict[str, str]) -> None:
        """Let the proxy count: `v2 30/30` = all of 30 requests failed."""
        failed, total = (int(part) for part in names[1].split("/"))
        self.simulation.answers[Version(names[0])] = Answers(
            total=total, failed=failed, recent_total=total, recent_failed=failed
        )

    def do_lose(self, _: list[str], __: dict[str, str]) -> None:
        """Decide, and die before any effect."""
        self.simulation.tick(losing=range(100))
        self.simulation.restart_controller()

    def do_envoy(self, names: list[str], _: dict[str, str]) -> None:
        self.simulation.acknowledges = names == ["answers"]

    def do_restart(self, _: list[str], __: dict[str, str]) -> None:
        self.simulation.restart_controller()

    def _new_events(self) -> list[str]:
        fresh = self.simulation.journal[self.told :]
        self.told = len(self.simulation.journal)
        state = self.simulation.state
        phase = "" if state.phase is RolloutPhase.IDLE else f" {state.phase}"
        return [*(_line(event) for event in fresh), f"    = {state.stable}{phase}"]


def _line(event: events.ServiceEvent) -> str:
    return f"    {(event.at - BEGINNING).total_seconds():8.1f} s  {event.kind:18} {_words(event)}".rstrip()


def _words(event: events.ServiceEvent) -> str:
    match event:
        case events.RolloutStarted():
            return f"{event.rollout} {event.strategy} {event.baseline} -> {event.candidate}"
        case events.TrafficRouted():
            cut = f"; cuts {dict(event.cut)}" if event.cut else ""
            return f"{_table(event.table)}{cut}"
        case events.InstanceOrdered():
            return f"{event.instance} {event.version}"
        case events.InstanceFailed():
            return f"{event.instance} {event.cause}"
        case events.InstanceRetired():
            return f"{event.instance} {event.why}"
        case events.InstanceGone():
            return str(event.instance)
        case events.StageEntered() | events.StageSettled() | events.StagePromoted():
            return str(event.stage)
        case events.RollbackStarted():
            return event.cause
        case events.RolloutFinished():
            return f"{event.outcome}{f': {event.cause}' if event.cause else ''}"
        case events.ChecksFinished() | events.PreflightFinished() | events.RulingGiven():
            return _answer(event)
        case events.DatabaseAnswered():
            return f"{event.report.verdict}{f': {event.report.cause}' if event.report.cause else ''}"
        case _:
            return ""


def _answer(event: events.ChecksFinished | events.PreflightFinished | events.RulingGiven) -> str:
    match event:
        case events.ChecksFinished():
            return "; ".join(event.problems) or "passed"
        case events.PreflightFinished():
            found = [f"{one.severity} {one.rule}" for one in event.report.findings]
            return "; ".join(found) or "nothing found"
        case events.RulingGiven(ruling=ruling):
            share = f" for {ruling.next_share_bp / 100:g} %" if ruling.next_share_bp else ""
            return f"{ruling.call}{share}: {ruling.sentence}"


def _table(table: Table) -> str:
    weights = ", ".join(f"{version} {weight / 100:g} %" for version, weight in table.weights.items()) or "nobody"
    ends = " ".join(
        f"{name.removeprefix('shop-')}{'' if end.state is EndpointState.ACTIVE else '(draining)'}"
        for some in table.endpoints.values()
        for name, end in some.items()
    )
    return f"{weights} | {ends}"


def _database(switch: str) -> DatabaseSpec:
    changes = (ChangeSpec(name="split-name", file="split-name.yaml"),)
    return DatabaseSpec(url="env:DATABASE_URL", changes=changes, switch=SwitchWhen(switch))


def _service(**options: str) -> ServiceSpec:
    steps = [float(step) for step in options.get("steps", "1,25,100").split(",")]
    canary = CanarySpec(
        steps=tuple(
            CanaryStep(weight_bp=int(step * 100), hold_s=0 if step == 100 else float(options.get("hold", "10")))
            for step in steps
        )
    )
    checks = tuple(CheckSpec(path=path) for path in options.get("checks", "").split(",") if path)
    rolling = RollingSpec(
        max_surge=Amount(count=int(options.get("surge", "1"))),
        max_unavailable=Amount(count=int(options.get("unavailable", "0"))),
    )
    blue_green = BlueGreenSpec(checks=checks, keep_warm_s=float(options.get("keep_warm", "10")))
    return ServiceSpec(
        name="shop",
        instances=int(options.get("instances", "2")),
        run=RunSpec(command=(options.get("command", "shop"),)),
        traffic=TrafficSpec(listen=Address(host="127.0.0.1", port=1)),
        drain=DrainSpec(requests_s=float(options.get("requests", "2")), streams_s=float(options.get("streams", "60"))),
        strategy=StrategySpecs(rolling=rolling, canary=canary, blue_green=blue_green),
        progress_deadline_s=float(options.get("deadline", "100")),
        preflight=PreflightSpec() if options.get("preflight") == "on" else None,
        sessions=Sessions(options["sessions"]) if "sessions" in options else None,
        database=_database(options["database"]) if "database" in options else None,
        analysis=_analysis(options["undecided"], options.get("patience", "60")) if "undecided" in options else None,
    )


def _analysis(undecided: str, patience_s: str) -> AnalysisSpec:
    return AnalysisSpec(undecided=Undecided(undecided), patience_s=float(patience_s))
