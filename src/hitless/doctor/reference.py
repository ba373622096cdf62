"""The page `docs/reference/doctor.md`."""

from __future__ import annotations

from hitless.doctor.catalogue import CHECKS

_HEAD = """\
# Checks of `hitless doctor`

Generated from the code by `make docs`.

`hitless doctor` looks at this machine and this project: is all there that a rollout needs, in its widest moment, with
two versions of every service in full? It works with and without a running control plane, writes nothing but a trial
folder that it removes, and asks for no rights. `--only NAME[,NAME]` looks at some checks, `--json` prints a document.

Each line is a check: *ok*; *warning*: it works and is likely to hurt; *failed*: it does not work, or will not at the
next rollout; *could not tell*: it could not be measured, which is never ok. Whatever is not ok names the next command.

Exit codes: 0 when all is ok or a warning, 6 when a check failed or could not tell. Without a `hitless.yaml` only the
checks of the machine are made, as for one small service.

| check | of | looks at | enough is | why |
| --- | --- | --- | --- | --- |
"""


def reference() -> str:
    """Return the page."""
    rows = (
        f"| `{name}` | {check.scope} | {check.title} | {check.limit} | {check.reason} |\n"
        for name, check in CHECKS.items()
    )
    return _HEAD + "".join(rows)
