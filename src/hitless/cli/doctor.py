from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from rich.console import RenderableType
from rich.table import Table
from rich.text import Text

from hitless.cli.faults import PROJECT_FILE, ProjectNotFound, Unfit, Usage
from hitless.cli.figures import count
from hitless.cli.outcome import DONE
from hitless.cli.output import Output
from hitless.cli.place import STATE_DIRECTORY, project_directory
from hitless.cli.roof import surgery
from hitless.cli.session import DEFAULTS, Common
from hitless.cli.symbols import VERDICTS, Glyphs, mark
from hitless.doctor.catalogue import CHECKS
from hitless.view.doctor import doctor_view
from hitless.view.models import CheckView, DoctorView, FindingView

INDENT = "    "


def doctor(*, only: str | None = None, common: Common = DEFAULTS) -> int:
    """Tell whether this machine and this project are fit for rollouts; exits 6 when not, or when it cannot be told.

    Args:
        only: Names of checks, with commas between them; without it, all.
        common: Options of every command.
    """
    output = common.output
    project = _project(common.project)
    directory = project.parent if project else Path.cwd()
    names = _chosen(only) if only is not None else _usual(has_project=project is not None)
    found = surgery().examine(project, state_directory=directory / STATE_DIRECTORY, names=names)
    view = doctor_view(found, directory=str(directory))
    if common.json:
        output.document("doctor", view)
    else:
        show(view, output)
    return _outcome(view)


def show(view: DoctorView, output: Output) -> None:
    """Print one line per finding, below it the commands, whole, so that they can be pasted."""
    for check in view["checks"]:
        for finding in check["findings"]:
            output.show(finding_picture(check, finding, output.glyphs))
            for command in finding["next"]:
                output.raw(f"{INDENT}{command}")
    output.raw(summary(view))


def finding_picture(check: CheckView, finding: FindingView, glyphs: Glyphs) -> RenderableType:
    """Draw one line; what does not fit goes on below itself."""
    table = Table.grid(padding=(0, 2, 0, 0))
    table.add_column(width=max(len(mark(symbol, glyphs)) for symbol in VERDICTS.values()), no_wrap=True)
    table.add_column(overflow="fold")
    measured = Text(f"{check['title']}: ", style="bold").append(finding["measured"], "not bold")
    table.add_row(mark(VERDICTS[finding["verdict"]], glyphs), measured)
    return table


def summary(view: DoctorView) -> str:
    """Count checks by verdict, in one line."""
    verdicts = [check["verdict"] for check in view["checks"]]
    counts = [_counted(verdicts.count(name), name) for name in VERDICTS if name in verdicts]
    return f"{count(len(verdicts), 'check')}: {', '.join(counts)}"


def _counted(number: int, verdict: str) -> str:
    return count(number, verdict) if verdict == "warning" else f"{number} {VERDICTS[verdict].word}"


def _outcome(view: DoctorView) -> int:
    """Return the exit code.

    Raises:
        Unfit: a check failed, or could not tell.
    """
    failed, unknown = (list(_named(view, verdict)) for verdict in ("failed", "unknown"))
    if failed or unknown:
        raise Unfit(failed=failed, unknown=unknown)
    return DONE


def _named(view: DoctorView, verdict: str) -> Iterator[str]:
    return (check["name"] for check in view["checks"] if check["verdict"] == verdict)


def _project(given: Path | None) -> Path | None:
    """Return the project's file; None: there is no project here, and none was asked for."""
    try:
        return project_directory(given, start=Path.cwd()) / PROJECT_FILE
    except ProjectNotFound:
        if given is not None:
            raise
        return None


def _usual(*, has_project: bool) -> list[str]:
    return [name for name, check in CHECKS.items() if has_project or check.scope == "machine"]


def _chosen(only: str) -> list[str]:
    """Read the list of names; checks are made in their usual order.

    Raises:
        Usage: one is not known, or there is none.
    """
    wanted = [name.strip() for name in only.split(",") if name.strip()]
    strangers = [name for name in wanted if name not in CHECKS]
    if strangers or not wanted:
        what = f"no check is called {', '.join(map(repr, strangers))}" if strangers else "--only names no check"
        raise Usage(what, evidence=(f"checks: {', '.join(CHECKS)}",), hints=("hitless doctor --help",))
    return [name for name in CHECKS if name in wanted]
