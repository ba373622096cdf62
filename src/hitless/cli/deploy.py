from __future__ import annotations

from typing import Literal

from hitless.cli.session import DEFAULTS, Common, Session
from hitless.cli.waiting import WAIT, WaitOptions, actor, conclude

Strategy = Literal["rolling", "blue_green", "canary"]


def deploy(
    name: str | None = None,
    /,
    *,
    version: str,
    strategy: Strategy | None = None,
    supersede: bool = False,
    skip_preflight: bool = False,
    reason: str | None = None,
    wait: WaitOptions = WAIT,
    common: Common = DEFAULTS,
) -> int:
    """Bring a version in, and wait until it is in or turned away.

    Args:
        name: Service; not needed when the project has only one.
        version: The version to bring in, as `{version}` in hitless.yaml.
        strategy: Instead of the service's own.
        supersede: End a rollout that is going on, and start from the world as it is.
        skip_preflight: Do not examine the version before users meet it; journaled, with the reason.
        reason: Why, for the journal.
        wait: How to wait.
        common: Options of every command.
    """
    session = Session(common)
    service = session.service_name(name)
    rollout = session.client.deploy(
        service,
        version=version,
        strategy=strategy,
        supersede=supersede,
        skip_preflight=skip_preflight,
        actor=actor(),
        reason=reason,
    )
    session.output.narrate(f"rollout {rollout['id']} of {service} begins; Ctrl-C detaches, it goes on")
    return conclude(session, rollout, wish="forward", options=wait)
