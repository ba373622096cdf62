"""Asking before something is ended."""

from __future__ import annotations

import sys

from hitless.cli.faults import ConfirmationNeeded, NotConfirmed
from hitless.cli.output import Output


def confirm(output: Output, consequence: str, *, command: str) -> None:
    """Ask a person; where there is none, refuse.

    Args:
        output: where to ask.
        consequence: what "this" does, after that word.
        command: what to say with `--yes` instead.

    Raises:
        ConfirmationNeeded: stdin is no terminal.
        NotConfirmed: the answer was not yes.
    """
    if not sys.stdin.isatty():
        raise ConfirmationNeeded(f"this {consequence}", command)
    output.errors.print(f"This {consequence}.", soft_wrap=True)
    output.errors.print("Go on? [y/N] ", end="")
    if sys.stdin.readline().strip().lower() not in {"y", "yes"}:
        raise NotConfirmed
