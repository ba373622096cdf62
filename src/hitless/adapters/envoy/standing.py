"""What one Envoy's files say about the services that it serves, for a controller whose store says less."""

from __future__ import annotations

from pathlib import Path

from hitless.adapters.envoy.damage import Damage
from hitless.adapters.envoy.files import read_fence, read_resources
from hitless.adapters.envoy.layout import Layout
from hitless.adapters.envoy.ledger import read_ledger
from hitless.adapters.envoy.resources import listened_address
from hitless.ports import Standing
from hitless.rollout.spec import LOCAL, Region, Version
from hitless.rollout.world import Table


def read_standing(directory: Path, *, region: Region = LOCAL) -> dict[str, Standing]:
    """Read what is open and routed, by service; nothing where there never was an Envoy."""
    layout = Layout(directory / region)
    listeners = read_resources(layout.listeners)[1]
    listening = {name: listened_address(one) for name, one in listeners.items() if "@" not in name}
    ledgers = {path.stem: read_ledger(path) for path in layout.records()}
    return {
        name: Standing(
            listen=listening.get(name),
            revision=ledgers[name].revision if name in ledgers else 0,
            weights=_weights(ledgers[name].acknowledged) if name in ledgers else {},
        )
        for name in sorted({*listening, *ledgers})
    }


def newest_fence(directory: Path, *, region: Region = LOCAL) -> int:
    """Return the newest fence that has written here, -1 when none has; files that were damaged meanwhile are restored.

    Raises:
        FileDamaged: file and copy are.
    """
    if not (directory / region).exists():
        return -1
    layout = Layout(directory.resolve() / region)
    Damage(layout).restore()
    return max(read_fence(layout.root), *(read_ledger(path).fence for path in layout.records()), -1)


def _weights(table: Table | None) -> dict[Version, int]:
    return {version: share for version, share in table.weights.items() if share} if table else {}
