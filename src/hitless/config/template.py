"""The file that `hitless init` writes: every setting with its meaning and its default, in comments unless it is needed.

A line `# Text` explains, a line `#key: value` is a setting; without its `#` a default stays the default.
"""

from __future__ import annotations

import textwrap
from collections.abc import Iterator, Sequence
from typing import Any

from hitless.config.catalogue import Setting, as_yaml, settings

SCHEMA_FILE = ".hitless/schema.json"
_WIDTH = 100
_INDENT = "  "
_HEAD = f"""\
# yaml-language-server: $schema={SCHEMA_FILE}
#
# What hitless releases, and how. A line such as `#key: value` is a setting with its default, or an example where
# there is none: take away its `#` and those of the sections around it to change it.
# `hitless validate` checks this file, `hitless plan` shows what it would do.
"""


def template(name: str, *, command: Sequence[str] | None = None) -> str:
    """Return a commented `hitless.yaml`.

    Args:
        name: of the service.
        command: starts an instance; None = an example to be edited.
    """
    values: dict[str, Any] = {"service": name}
    if command:
        values["run.command"] = list(command)
    shown = [setting for setting in settings() if not setting.is_in_list]
    return _HEAD + "".join(_entry(setting, values) for setting in shown)


def _entry(setting: Setting, values: dict[str, Any]) -> str:
    indent = _INDENT * setting.path.count(".")
    gap = "\n" if not setting.parent else ""
    prose = "".join(f"{indent}# {line}\n" for line in _prose(setting, len(indent)))
    value = "" if setting.is_section else " " + as_yaml(values.get(setting.path, setting.example))
    hidden = "" if _is_needed(setting) else "#"
    return f"{gap}{prose}{hidden}{indent}{setting.key}:{value}\n"


def _is_needed(setting: Setting) -> bool:
    return setting.is_required and (not setting.parent or setting.parent == "run")


def _prose(setting: Setting, indent: int) -> Iterator[str]:
    yield from textwrap.wrap(setting.description, _WIDTH - indent)
    for part in settings():
        if part.parent == setting.path and part.is_in_list:
            default = "" if part.default is None else f" Default: {as_yaml(part.default)}."
            text = f"{part.key}: {part.description}{default}"
            yield from textwrap.wrap(text, _WIDTH - indent, initial_indent="- ", subsequent_indent="  ")
