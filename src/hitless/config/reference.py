"""The page `docs/reference/settings.md`, as `python -m hitless.config` prints it."""

from __future__ import annotations

from collections.abc import Iterator

from hitless.config.catalogue import NAMED, Setting, as_yaml, settings

_HEAD = """\
# Settings

Everything that `hitless.yaml` may hold. Generated from the code:
`python -m hitless.config > docs/reference/settings.md`.

The file holds one service, or several as a list under `services:`. It is YAML 1.2: only `true` and `false` are truth
values, and a key that is not listed here is an error. `hitless init` writes a file with all of it in comments, `hitless
schema` prints the JSON Schema for editors, `hitless validate` reports every mistake with its line.

| kind of value | is written | remarks |
| --- | --- | --- |
| duration | `500ms`, `30s`, `10m`, `2h`, `1d`, `1h30m` | always with its unit; at most a year |
| percentage | `5%`, `0.01%` | in steps of 0.01%; under `slo` and `analysis` as fine as `99.9995%` |
| percentage points | `0.1pp` | of all requests: a difference between two shares |
| quantile | `p50`, `p99`, `p99.9` | as a key |
| count or percentage | `1`, `25%` | of `instances` |
| address | `127.0.0.1:8080`, `"[::1]:8080"` | an IP address of this machine or `localhost`, and a port |
| command | `[python, app.py]`, `python app.py` | a list of words, or one line that is split into words; no shell |
| selector | `orders_total{outcome="paid"}` | as in PromQL (`=`, `!=`, `=~`, `!~`); series that match are summed |
| text, path, file | `"{port}"` | in quotes where it holds braces or begins with a sign |
"""


def reference() -> str:
    """Return the page."""
    tops = [setting for setting in settings() if not setting.parent]
    plain = [setting for setting in tops if not _below(setting)]
    sections = [setting for setting in tops if _below(setting)]
    parts = [_HEAD, "## The service\n", _table(plain), *(_section(setting) for setting in sections)]
    return "\n".join(parts)


def _below(section: Setting) -> list[Setting]:
    return [setting for setting in settings() if setting.path.startswith(f"{section.path}.")]


def _section(section: Setting) -> str:
    needed = " Required." if section.is_required else ""
    return f"## `{section.path}`\n\n{section.description}{needed}\n\n{_table(_below(section))}"


def _table(rows: list[Setting]) -> str:
    lines = ["| key | type | default | meaning |", "| --- | --- | --- | --- |", *_rows(rows)]
    return "".join(f"{line}\n" for line in lines)


def _rows(rows: list[Setting]) -> Iterator[str]:
    for row in rows:
        yield f"| `{_shown_path(row)}` | {row.kind} | {_default(row)} | {_cell(row.description)} |"


def _shown_path(row: Setting) -> str:
    """Mark elements, as in `strategy.canary.steps[].weight` and `metrics.ratios.NAME.good`."""
    named = {one.path for one in settings() if one.kind == NAMED}
    between = ".NAME" if row.parent in named else "[]"
    return f"{row.parent}{between}.{row.key}" if row.is_in_list else row.path


def _default(row: Setting) -> str:
    if row.is_required:
        return "required"
    return "" if row.default is None or row.is_section else f"`{as_yaml(row.default)}`"


def _cell(text: str) -> str:
    return text.replace("|", "\\|")
