"""A lint as annotations of GitHub Actions ("Workflow commands": error, warning), one a line."""

from __future__ import annotations

from collections.abc import Iterator

from hitless.view.schema_models import LintFindingView, LintView, UnreadView


def workflow_commands(view: LintView) -> Iterator[str]:
    """Render each finding as a command that marks its line in a pull request."""
    for place in view["unread"]:
        yield _command("error", place, "unreadable", place["message"])
    for one in view["findings"]:
        message = f"{one['message']}\n\n{one['fix']}" if one["fix"] else one["message"]
        yield _command(one["severity"], one, one["rule"], message)


def _command(kind: str, place: LintFindingView | UnreadView, title: str, message: str) -> str:
    where = f"file={_property(place['file'])},line={place['line']},col={place['column']},title={_property(title)}"
    return f"::{kind} {where}::{_data(message)}"


def _data(text: str) -> str:
    return text.replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")


def _property(text: str) -> str:
    return _data(text).replace(":", "%3A").replace(",", "%2C")
