"""Run a command line, and turn whatever goes wrong into words and an exit code."""

from __future__ import annotations

import os
import sys

from cyclopts import CycloptsError

from hitless.cli.app import GROUPS, TOP, build
from hitless.cli.complaint import complain, save_report
from hitless.cli.faults import ProblemReported, Usage
from hitless.cli.outcome import DETACHED, DONE
from hitless.errors import HitlessError
from hitless.view.models import ProblemView
from hitless.view.problem import problem_of, problem_of_unexpected

BROKEN_PIPE = 141
"""As a shell reports a program that SIGPIPE ended."""


def run(arguments: list[str]) -> int:
    """Run `hitless` with `arguments`; return the exit code."""
    try:
        result = build()(arguments)
        return result if isinstance(result, int) else DONE
    except KeyboardInterrupt:
        return DETACHED
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # or the interpreter complains at its end
        return BROKEN_PIPE
    except Exception as error:  # noqa: BLE001 - the last resort: what is not known is said in a line and kept in a file
        problem = _problem(error, arguments)
    complain(problem, as_json="--json" in arguments)
    return problem["exit_code"]


def _problem(error: Exception, arguments: list[str]) -> ProblemView:
    match error:
        case HitlessError():
            return problem_of(error)
        case ProblemReported():
            return error.problem
        case CycloptsError():
            return problem_of(_usage(error, arguments))
        case _:
            return _unforeseen(error, arguments)


def _usage(error: CycloptsError, arguments: list[str]) -> Usage:
    sentence = str(error).partition(" Available commands")[0].strip().rstrip(".")
    return Usage(sentence, hints=(" ".join(["hitless", *_command(arguments), "--help"]),))


def _command(arguments: list[str]) -> list[str]:
    """Return the words that name a command, as far as they are known."""
    group, name = [*arguments, "", ""][:2]
    if group in GROUPS:
        return [group, name] if name in GROUPS[group] else [group]
    return [group] if group in TOP else []


def _unforeseen(error: Exception, arguments: list[str]) -> ProblemView:
    if "--debug" in arguments:
        sys.excepthook(type(error), error, error.__traceback__)
    return {
        **problem_of_unexpected(error),
        "evidence": [f"report saved: {save_report(error, arguments)}"],
        "hints": ["run it again with --debug to see the traceback"],
    }
