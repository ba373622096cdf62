"""Rules about the comments that allow what another rule refuses. What they find, the linter itself finds."""

from __future__ import annotations

from hitless.schema.rules.rule import Family, Rule, Severity

ALLOWED_WITHOUT_REASON = "allowed-without-reason"
ALLOWED_IN_VAIN = "allowed-in-vain"
ALLOWED_UNKNOWN = "allowed-unknown-rule"
FOREIGN_ENCODING = "file-not-utf-8"
INCLUDED = "included-not-read"

RULES = (
    Rule(
        id=ALLOWED_WITHOUT_REASON,
        family=Family.LINT,
        severity=Severity.ERROR,
        summary="A comment allows what a rule refuses, and gives no reason.",
        why="Whoever reads the file in a year must see why it was right.",
        safe="Write the reason behind a colon: `-- hitless: allow RULE: reason`.",
    ),
    Rule(
        id=ALLOWED_IN_VAIN,
        family=Family.LINT,
        severity=Severity.WARNING,
        summary="A comment allows a rule that finds nothing there.",
        why="It would hide what the next change brings.",
        safe="Delete the comment.",
    ),
    Rule(
        id=ALLOWED_UNKNOWN,
        family=Family.LINT,
        severity=Severity.ERROR,
        summary="A comment allows a rule that does not exist.",
        why="The name is misspelt, and what it was meant for is not allowed.",
        safe="Correct the name: `hitless migrate rules` lists all.",
    ),
    Rule(
        id=FOREIGN_ENCODING,
        family=Family.LINT,
        severity=Severity.WARNING,
        summary="A file is not UTF-8, and does not say what it is.",
        why="Names and strings with other characters than ASCII may be read, and sent, wrong.",
        safe="Save the file as UTF-8, or begin it with SET client_encoding.",
    ),
    Rule(
        id=INCLUDED,
        family=Family.LINT,
        severity=Severity.WARNING,
        summary="A script of psql includes another file.",
        why="What stands there was not judged.",
        safe="Name that file on the command line too, in its place of the history.",
    ),
)
