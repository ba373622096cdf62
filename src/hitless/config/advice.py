"""What is allowed and probably not meant: warnings for one service, with paths that count from it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from hitless.config.values import Problem, write_duration
from hitless.rollout.spec import RunSpec, ServiceSpec

_EXAMPLE_TOKEN = "change-me"  # noqa: S105 - the one that must not be used


def advise(service: ServiceSpec, *, directory: Path) -> Iterator[Problem]:
    """Yield everything that is worth a second look.

    Args:
        service: as read.
        directory: of the project; where `run.directory` starts.
    """
    yield from _same_port_for_all(service.run)
    yield from _same_code_for_all(service.run)
    yield from _no_such_directory(service.run, directory)
    yield from _impatient(service)
    yield from _well_known_token(service)
    yield from _nobody_tells_of_dependencies(service)
    yield from _nothing_is_asked(service)


def _texts(run: RunSpec) -> tuple[str, ...]:
    return (*run.command, *run.environment.keys(), *run.environment.values())


def _same_port_for_all(run: RunSpec) -> Iterator[Problem]:
    if not any("{port}" in text or "PORT" in text for text in _texts(run)):
        yield Problem(
            message="the command does not say which port to listen on; every instance has its own",
            hint="pass `{port}`; if the program reads PORT from its environment all is well, and `environment: "
            '{PORT: "{port}"}` says so',
            at=("run", "command"),
        )


def _same_code_for_all(run: RunSpec) -> Iterator[Problem]:
    if not any("{version}" in text or "HITLESS_VERSION" in text for text in (*_texts(run), run.directory)):
        yield Problem(
            message="nothing in `run` depends on the version, so every version runs the same code",
            hint='keep each version in its own directory: `directory: "releases/{version}"`',
            at=("run",),
        )


def _no_such_directory(run: RunSpec, directory: Path) -> Iterator[Problem]:
    if "{" not in run.directory and not (directory / run.directory).is_dir():
        hint = "paths are relative to the file's directory"
        yield Problem(message=f"the directory `{run.directory}` does not exist", hint=hint, at=("run", "directory"))


def _impatient(service: ServiceSpec) -> Iterator[Problem]:
    start_s = service.health.start_deadline_s
    if service.progress_deadline_s < start_s:
        yield Problem(
            message=f"a rollout is taken back before an instance may be late ({write_duration(start_s)} to start)",
            hint=f"set `progress_deadline: {write_duration(start_s)}` or longer",
            at=("progress_deadline",),
        )


def _well_known_token(service: ServiceSpec) -> Iterator[Problem]:
    override = service.traffic.override
    if override and override.token.startswith(_EXAMPLE_TOKEN):
        message = "this token is the documentation's, anyone knows it"
        yield Problem(message=message, hint="make one: openssl rand -hex 16", at=("traffic", "override", "token"))


def _nobody_tells_of_dependencies(service: ServiceSpec) -> Iterator[Problem]:
    if service.analysis and service.analysis.dependencies and service.metrics is None:
        yield Problem(
            message="calls to dependencies are compared by what the instances tell, and nothing says where they do",
            hint="set `metrics: /metrics`, or where else they answer in Prometheus text",
            at=("analysis", "dependencies"),
        )


def _nothing_is_asked(service: ServiceSpec) -> Iterator[Problem]:
    metrics = service.metrics
    if metrics and metrics.prometheus and not any(ratio.is_query for ratio in metrics.ratios):
        yield Problem(
            message="there is a Prometheus, and nothing is asked of it",
            hint="write the parts of a ratio as `{query: ...}`, or remove it",
            at=("metrics", "prometheus"),
        )
