"""The other half of the roof: what `hitless doctor` measures, and with which adapters.

Apart from `bootstrap`, so that an examination needs no web framework and takes no lease.
"""

from __future__ import annotations

import importlib
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property
from pathlib import Path
from typing import Any

from hitless.adapters.clock import SystemClock
from hitless.adapters.envoy import inspection as envoy
from hitless.adapters.envoy.resources import addresses
from hitless.adapters.machine import certificates, disk, limits, network, program
from hitless.adapters.processes import inspection as processes
from hitless.adapters.processes.free_ports import candidate_ports, ephemeral_ports
from hitless.adapters.processes.holder import is_alive, pid_of
from hitless.adapters.store_sql import inspection as store
from hitless.config import InvalidConfiguration, load
from hitless.config.findings import Finding
from hitless.doctor import catalogue
from hitless.doctor.finding import Findings, NotMeasured
from hitless.doctor.measures import (
    Certificate,
    Complaint,
    Configuration,
    DatabaseState,
    EphemeralPorts,
    Inotify,
    LeaseState,
    Leftovers,
    ListenAddress,
    ListenPort,
    Memory,
    PrivilegedPorts,
    RunningVersion,
    StoreState,
)
from hitless.engine.codec import load_state
from hitless.engine.service import SERVICE
from hitless.errors import HitlessError
from hitless.ports import Clock
from hitless.rollout.spec import Address, RunSpec, ServiceSpec, TrafficSpec
from hitless.rollout.state import ServiceState

DATABASES = "hitless.adapters.postgres.examining"
"""Loaded where a service names a database: its driver would cost every examination 0.1 s."""

_SMALL_SERVICE = ServiceSpec(
    name="app", instances=2, run=RunSpec(command=()), traffic=TrafficSpec(listen=Address(host="127.0.0.1", port=8080))
)
"""What the machine is held against where no project says what it needs."""


def examine(project_path: Path | None, *, state_directory: Path, names: Sequence[str]) -> dict[str, Findings]:
    """Make checks, in this order.

    Args:
        project_path: the project's `hitless.yaml`; None: there is no project, or only its place is known.
        state_directory: the project's; need not exist.
        names: of `hitless.doctor.catalogue.CHECKS`.
    """
    patient = Patient(project_path=project_path, state_directory=state_directory, clock=SystemClock())
    return catalogue.examine(names, patient.measurements())


@dataclass(kw_only=True)
class Patient:
    """One machine with one project; what several checks need is measured once."""

    project_path: Path | None
    state_directory: Path
    clock: Clock

    def measurements(self) -> Mapping[str, Callable[[], Any]]:
        """Return how each check's values are measured."""
        return {
            "python": program.python,
            "envoy": envoy.binary,
            "kernel": program.kernel,
            "proc": program.proc,
            "clock": program.clock,
            "inotify-instances": lambda: envoy.inotify(self._counted, self._envoys, basis=self._basis),
            "inotify-watches": self._inotify_watches,
            "open-files": lambda: limits.open_files(
                services=len(self._counted), instances=self._wanted, envoy_pid=self._envoy_pid
            ),
            "processes": lambda: limits.processes(
                instances=self._to_start, threads_per_instance=self._instances.most_threads
            ),
            "memory": self._memory,
            "disk-space": lambda: tuple(map(disk.disk_space, self._disks)),
            "file-system": lambda: tuple(map(disk.file_system, self._disks)),
            "configuration": self._configuration,
            "state-directory": lambda: disk.state_directory(self.state_directory),
            "socket-path": lambda: envoy.socket_path(self.state_directory),
            "addresses": self._addresses,
            "ephemeral-ports": self._ephemeral_ports,
            "privileged-ports": self._privileged_ports,
            "tls": self._certificates,
            "store": lambda: self._store,
            "journal": lambda: self._store,
            "lease": self._lease,
            "leftovers": self._leftovers,
            "run": self._run,
            "databases": self._databases,
        }

    # The project

    @cached_property
    def _loaded(self) -> Mapping[str, ServiceSpec] | HitlessError | None:
        """The services, or why they cannot be read; None: there is no project."""
        if self.project_path is None:
            return None
        try:
            return load(self.project_path).services
        except HitlessError as error:
            return error

    @property
    def _specs(self) -> tuple[ServiceSpec, ...]:
        """The services.

        Raises:
            NotMeasured: they cannot be read.
        """
        if not isinstance(self._loaded, Mapping):
            raise NotMeasured("not looked at: there is no valid hitless.yaml to say what for", self._remedy)
        return tuple(self._loaded.values())

    @property
    def _remedy(self) -> str:
        return "hitless init" if self._loaded is None else "hitless validate"

    @property
    def _counted(self) -> tuple[ServiceSpec, ...]:
        return self._specs if isinstance(self._loaded, Mapping) else (_SMALL_SERVICE,)

    @property
    def _basis(self) -> str:
        if isinstance(self._loaded, Mapping):
            return f"for {len(self._loaded)} services" if len(self._loaded) > 1 else "for 1 service"
        return "for one small service, as no valid hitless.yaml says more"

    @property
    def _wanted(self) -> int:
        return sum(spec.instances for spec in self._counted)

    @property
    def _to_start(self) -> int:
        """Instances beside those that run, were a second version of every service up in full."""
        return max(2 * self._wanted - len(self._instances.known), self._wanted)

    def _configuration(self) -> Configuration:
        path, looked_in = self.project_path, str(self.state_directory.parent)
        if path is None or self._loaded is None:
            return Configuration(path=None, looked_in=looked_in)
        if isinstance(self._loaded, HitlessError):
            return Configuration(path=str(path), looked_in=looked_in, complaints=tuple(_complaints(self._loaded)))
        complaints = tuple(_complaint(one) for one in load(path).warnings)
        return Configuration(path=str(path), looked_in=looked_in, services=tuple(self._loaded), complaints=complaints)

    # What runs

    @cached_property
    def _envoys(self) -> tuple[envoy.FoundEnvoy, ...]:
        return envoy.envoys(self.state_directory)

    @property
    def _envoy_pid(self) -> int | None:
        return self._envoys[0].pid if self._envoys else None

    @cached_property
    def _instances(self) -> processes.Instances:
        return processes.instances(self.state_directory)

    @cached_property
    def _states(self) -> tuple[ServiceState, ...]:
        return tuple(load_state(run.state) for run in store.runs(self.state_directory, SERVICE))

    @cached_property
    def _store(self) -> StoreState:
        return store.store(self.state_directory)

    # The machine

    def _inotify_watches(self) -> Inotify:
        instances = envoy.inotify(self._counted, self._envoys, basis=self._basis)
        in_use = limits.watches_in_use()
        return Inotify(
            limit=limits.watch_limit(),
            in_use=in_use,
            needed=instances.needed,
            reserve=instances.reserve,
            basis=self._basis,
        )

    def _memory(self) -> Memory:
        return limits.memory(
            to_start=self._to_start, instance_bytes=self._instances.largest_bytes, is_up=bool(self._envoys)
        )

    @property
    def _disks(self) -> tuple[Path, ...]:
        state = self.state_directory
        return disk.one_per_file_system((state, state / "logs", envoy.layout_in(state).root / "logs"))

    # The network

    def _listening(self) -> tuple[ListenPort, ...]:
        return tuple(
            ListenPort(use=name, host=address.host, port=address.port)
            for spec in self._specs
            for name, address in addresses(spec).items()
        )

    def _addresses(self) -> tuple[ListenAddress, ...]:
        return envoy.listening(self._specs, self._envoys)

    def _ephemeral_ports(self) -> EphemeralPorts:
        ephemeral = ephemeral_ports()
        return network.ephemeral_ports(self._listening(), ephemeral=ephemeral, instances=candidate_ports(ephemeral))

    def _privileged_ports(self) -> PrivilegedPorts:
        return network.privileged_ports(self._listening())

    def _certificates(self) -> tuple[Certificate, ...]:
        now: datetime = self.clock.now()
        return tuple(
            certificates.certificate(spec.name, cert=spec.traffic.tls.cert, key=spec.traffic.tls.key, now=now)
            for spec in self._specs
            if spec.traffic.tls is not None
        )

    # The project's life

    def _lease(self) -> LeaseState | None:
        if not self._store.exists:
            return None
        found = store.lease(self.state_directory)
        if found is None:
            return LeaseState(owner=None, has_services=any(state.instances for state in self._states))
        return LeaseState(
            owner=found.owner,
            pid=pid_of(found.owner),
            is_alive=is_alive(found.owner),
            runs_out_in_s=(found.until - self.clock.now()).total_seconds(),
        )

    def _leftovers(self) -> Leftovers:
        owner = disk.state_directory(self.state_directory).owner
        if owner is not None and os.geteuid() not in {0, owner}:
            reason = f"processes of user {owner}, to whom the project belongs, cannot be looked into"
            raise NotMeasured(reason, f"sudo -u '#{owner}' hitless doctor --only leftovers")
        found = (*self._instances.strays, *envoy.strays(self.state_directory, self._envoys))
        known = sum(map(len, self._instances.known.values())) + len(self._envoys)
        return Leftovers(strays=found, known=known - sum("Envoy" in one.what for one in found))

    def _run(self) -> tuple[RunningVersion, ...]:
        project = self.state_directory.parent
        return tuple(
            RunningVersion(
                service=state.service,
                version=version,
                is_wanted=version != state.previous,
                problem=processes.missing_for(spec.run, version=version, project=project),
            )
            for state in self._states
            for version, spec in state.specs.items()
        )

    def _databases(self) -> tuple[DatabaseState, ...]:
        named = [spec for spec in self._specs if spec.database is not None]
        if not named:
            return ()
        look_at = importlib.import_module(DATABASES).look_at
        return tuple(look_at(spec, directory=self.state_directory.parent) for spec in named)


def _complaints(error: HitlessError) -> list[Complaint]:
    if isinstance(error, InvalidConfiguration):
        return [_complaint(one) for one in error.findings]
    return [Complaint(text=error.message, is_warning=False, command=(error.hints or ("hitless validate",))[0])]


def _complaint(found: Finding) -> Complaint:
    return Complaint(text=str(found), is_warning=found.severity == "warning", command="hitless validate")
