"""Commands about `hitless.yaml` itself. All but `plan` work without a control plane; `plan` can."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import asdict
from pathlib import Path
from typing import Any

from hitless import config
from hitless.cli.deploy import Strategy
from hitless.cli.faults import PROJECT_FILE, ServiceNotNamed, Unreachable, Usage, WouldOverwrite
from hitless.cli.outcome import DONE, USAGE
from hitless.cli.outlook import USUAL_ERRORS, outlooks_of, outlooks_picture
from hitless.cli.place import STATE_DIRECTORY
from hitless.cli.session import DEFAULTS, Common, Session
from hitless.cli.tables import plan_picture
from hitless.errors import UnknownService
from hitless.rollout.spec import ServiceSpec, StrategyName, Version
from hitless.rollout.strategy import compile_rollout, stable_world
from hitless.view.models import PlanView
from hitless.view.plan import plan_view

SCHEMA_FILE = "schema.json"
IGNORE_LINE = f"{STATE_DIRECTORY}/"
PRESENT = Version("(present)")
"""Stands for the baseline where no control plane can tell."""


def init(*, force: bool = False, common: Common = DEFAULTS) -> int:
    """Write a commented hitless.yaml, with a guess at how the service here is started, and its schema for editors.

    Args:
        force: Replace a hitless.yaml that is there.
        common: Options of every command.
    """
    output = common.output
    directory = (common.project or Path.cwd()).absolute()
    path = directory / PROJECT_FILE
    if path.exists() and not force:
        raise WouldOverwrite(path)
    guess = config.detect(directory)
    path.write_text(config.template(guess.name, command=guess.command), encoding="utf-8")
    schema = _write_schema(directory)
    if common.json:
        output.document("project", {"path": str(path), "schema": str(schema), "service": guess.name})
        return DONE
    output.raw(f"wrote {path}: service {guess.name}" + (f", started as {guess.because} says" if guess.because else ""))
    output.raw(f"wrote {schema} for editors")
    if not _is_ignored(directory):
        output.narrate(
            f"hint: {STATE_DIRECTORY}/ holds state and logs; keep it out of git: echo {IGNORE_LINE} >> .gitignore"
        )
    output.narrate(
        f"next: edit {PROJECT_FILE}, then hitless validate, hitless up, hitless deploy {guess.name} --version VERSION"
    )
    return DONE


def validate(*, common: Common = DEFAULTS) -> int:
    """Check hitless.yaml; exits 2 with every problem and its place.

    Args:
        common: Options of every command.
    """
    session = Session(common)
    path = session.directory / PROJECT_FILE
    try:
        project = config.load(path)
    except config.InvalidConfiguration as error:
        if common.json:
            raise
        session.output.narrate(config.render(error.findings))
        return USAGE
    warnings = config.warnings(project)
    if common.json:
        session.output.document("project", _project_document(project, warnings))
        return DONE
    if warnings:
        session.output.narrate(config.render(warnings))
    session.output.raw(f"{path} is valid: {', '.join(project.services)}")
    return DONE


def schema(*, common: Common = DEFAULTS) -> int:
    """Print the JSON Schema of hitless.yaml, as it is: without an envelope, for editors.

    Args:
        common: Options of every command.
    """
    common.output.raw(_schema_text().rstrip())
    return DONE


def plan(
    name: str | None = None,
    /,
    *,
    version: str | None = None,
    strategy: Strategy | None = None,
    rate: float | None = None,
    errors: str | None = None,
    common: Common = DEFAULTS,
) -> int:
    """Show what a deploy would do: its stages, what they need, how long they take. Writes nothing.

    Args:
        name: Service; not needed when the project has only one.
        version: The version to bring in.
        strategy: Instead of the service's own.
        rate: Requests per second: show what the steps of a canary can tell at this traffic.
        errors: With --rate: share of the requests that fail now; usually 0.1%.
        common: Options of every command.
    """
    if version is None and rate is None:
        raise Usage("say which version, or --rate for what can be shown", hints=("hitless plan --help",))
    if errors is not None and rate is None:
        raise Usage("--errors goes with --rate", hints=("hitless plan --rate 100 --errors 0.1%",))
    session = Session(common)
    if version is not None:
        _show_plan(session, name, version, strategy)
    if rate is not None:
        _show_outlook(session, name, rate, errors)
    return DONE


def _show_plan(session: Session, name: str | None, version: str, strategy: str | None) -> None:
    try:
        found = session.client.plan(session.service_name(name), version=version, strategy=strategy)
    except Unreachable:
        found = _plan_from_file(session, name, version, strategy)
        session.output.narrate("no control plane runs: planned from hitless.yaml alone")
    if session.output.json:
        session.output.document("plan", found)
    else:
        session.output.show(plan_picture(found, session.output.canvas(session.clock)))


def _show_outlook(session: Session, name: str | None, rate: float, errors: str | None) -> None:
    spec = spec_of(config.load(session.directory / PROJECT_FILE), name)
    view = outlooks_of(spec, rate=rate, errors=errors or USUAL_ERRORS)
    if session.output.json:
        session.output.document("outlook", view)
    else:
        session.output.show(outlooks_picture(view))


def _plan_from_file(session: Session, name: str | None, version: str, strategy: str | None) -> PlanView:
    spec = spec_of(config.load(session.directory / PROJECT_FILE), name)
    chosen = StrategyName(strategy) if strategy else spec.strategy.default
    candidate = Version(version)
    compiled = compile_rollout(
        spec, strategy=chosen, baseline=PRESENT, candidate=candidate, standing=stable_world(spec, PRESENT)
    )
    return plan_view(compiled, spec=spec, strategy=chosen, baseline=PRESENT, candidate=candidate)


def spec_of(project: config.Project, name: str | None) -> ServiceSpec:
    """Return the settings of a service, or of the only one.

    Raises:
        ServiceNotNamed: there is not exactly one.
        UnknownService: there is none of this name.
    """
    names = list(project.services)
    if name is None and len(names) != 1:
        raise ServiceNotNamed(names)
    chosen = name or names[0]
    if chosen not in project.services:
        raise UnknownService(f"no service is called {chosen!r}", evidence=(f"known: {', '.join(names)}",))
    return project.services[chosen]


def _project_document(project: config.Project, warnings: Iterable[config.Finding]) -> dict[str, Any]:
    services = [json.loads(json.dumps(asdict(spec), default=str)) for spec in project.services.values()]
    found = [{"place": str(one.place), "message": one.message, "hint": one.hint} for one in warnings]
    return {"path": str(project.path), "services": services, "warnings": found}


def _schema_text() -> str:
    return json.dumps(config.json_schema(), indent=2, ensure_ascii=False) + "\n"


def _write_schema(directory: Path) -> Path:
    path = directory / STATE_DIRECTORY / SCHEMA_FILE
    path.parent.mkdir(exist_ok=True)
    path.write_text(_schema_text(), encoding="utf-8")
    return path


def _is_ignored(directory: Path) -> bool:
    path = directory / ".gitignore"
    return path.is_file() and any(line.strip().strip("/") == STATE_DIRECTORY for line in path.read_text().splitlines())
