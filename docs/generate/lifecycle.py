"""The page of what applications import, from its signatures, docstrings and the launcher's options."""

from __future__ import annotations

import argparse
import inspect
import re
from collections.abc import Iterator
from typing import Any

from hitless import lifecycle
from hitless.lifecycle.__main__ import command_line

HEAD = """\
# hitless.lifecycle

Generated from the code by `make docs`. [How to use it](../how-to/lifecycle.md), [why in this
order](../explanation/drain-order.md).

"""

_CLASSES = ("Lifecycle", "WsgiLifecycle", "Check", "InFlight")
_SECTION = re.compile(r"^(Args|Attributes):$", re.MULTILINE)
_ENTRY = re.compile(r"^    (\w[\w, ]*): (.*(?:\n {8}.*)*)", re.MULTILINE)
_ENDS = """
## Signals and exit codes

| signal | what follows |
| --- | --- |
| SIGTERM | the drain; at once where no worker serves yet |
| SIGINT | the server gets SIGTERM without a drain |
| a second one of either | the server and everything that it started is killed |
| SIGHUP, SIGQUIT, SIGUSR1, SIGUSR2, SIGTTIN, SIGTTOU | passed on |

Exit code 0 after a drain; 137 when the server had to be killed; 2 when the command line is wrong; otherwise the
server's own. What happens is told on stderr, a line per step.
"""


def page() -> str:
    """Return the page."""
    return "".join([HEAD, *(part for name in _CLASSES for part in _class(name)), *_states(), *_launcher(), _ENDS])


def _class(name: str) -> Iterator[str]:
    kind: Any = getattr(lifecycle, name)
    text = inspect.getdoc(kind) or ""
    about, *rest = _SECTION.split(text)
    yield f"## `{name}`\n\n```python\n{_signature(kind, name)}\n```\n\n{about.strip()}\n\n"
    if rest:
        yield "| argument | |\n| --- | --- |\n"
        for names, meaning in _ENTRY.findall(rest[1]):
            yield f"| {', '.join(f'`{one}`' for one in names.split(', '))} | {' '.join(meaning.split())} |\n"
        yield "\n"
    for property_name, found in inspect.getmembers(kind, lambda one: isinstance(one, property)):
        yield f"* `.{property_name}`: {inspect.getdoc(found)}\n"
    yield "\n"


def _signature(kind: Any, name: str) -> str:
    parts: list[str] = []
    for one in inspect.signature(kind).parameters.values():
        if one.kind is one.KEYWORD_ONLY and "*" not in parts:
            parts.append("*")
        default = "" if one.default is one.empty else f" = {one.default!r}"
        parts.append(f"{one.name}: {one.annotation}".replace("Function", "Callable[[], object]") + default)
    return f"{name}(\n" + "".join(f"    {part},\n" for part in parts) + ")"


def _states() -> Iterator[str]:
    yield "## What readiness says\n\n| `state` | status |\n| --- | --- |\n"
    for state in lifecycle.State:
        yield f"| `{state}` | {200 if state is lifecycle.State.READY else 503} |\n"
    yield (
        "\nThe body is JSON: `state`, `in_flight`, `warm_up` (a list: `name`, `status`, `duration_ms`, `error`) and\n"
        "`checks` (by name, the same). Checks are asked of a worker that is warm, while nothing drains.\n"
        "`in_flight` counts all workers; warm-up and checks are those of the worker that answers.\n\n"
    )


def _launcher() -> Iterator[str]:
    parser = command_line()
    yield f"## The launcher\n\n```console\n{parser.format_usage().removeprefix('usage: ').strip()}\n```\n\n"
    yield "| option | |\n| --- | --- |\n"
    for action in parser._actions:  # noqa: SLF001 - argparse has no public list of its options
        if action.option_strings and not isinstance(action, argparse._HelpAction):  # noqa: SLF001 - as above
            yield f"| `{action.option_strings[0]}` | {action.help} |\n"
