from __future__ import annotations

from hitless.cli.outcome import DONE, REFUSED
from hitless.cli.session import DEFAULTS, Common, Session
from hitless.cli.tree import preflight_picture
from hitless.cli.waiting import actor


def preflight(name: str | None = None, /, *, version: str, reason: str | None = None, common: Common = DEFAULTS) -> int:
    """Examine a version out of rotation, without a rollout.

    Args:
        name: Service; not needed when the project has only one.
        version: The version to examine, as `{version}` in hitless.yaml.
        reason: Why, for the journal.
        common: Options of every command.
    """
    session = Session(common)
    service = session.service_name(name)
    session.output.narrate(f"two instances of {service} {version} start out of rotation and are looked at ...")
    found = session.client.preflight(service, version=version, actor=actor(), reason=reason)
    if common.json:
        session.output.document("preflight", found)
    else:
        session.output.show(preflight_picture(found, session.output.canvas(session.clock)))
    return DONE if found["passed"] else REFUSED
