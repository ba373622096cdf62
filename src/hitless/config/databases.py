"""The section `database`: which schema a release needs, and what its instances take of the database."""

from __future__ import annotations

from typing import Annotated

from hitless.config.fields import (
    AmountField,
    DatabaseUrl,
    FilePath,
    Given,
    RoleName,
    ShortForm,
    StandingField,
    SwitchField,
    VariableName,
)
from hitless.config.section import Section, setting
from hitless.config.values import write_amount
from hitless.rollout import spec
from hitless.schema.change.standing import Standing

_CONNECTIONS = spec.ConnectionsSpec(per_instance=10)
_MOST_CONNECTIONS = 262_143  # PostgreSQL takes no greater max_connections


class Change(Section):
    """A change of the schema that this release needs."""

    file: FilePath = setting("Its change file, relative to this file.", example="changes/split-name.yaml")
    standing: StandingField = setting(
        "How far it must have come before the release's first instance starts: `expanded`, `backfilled`, `verified` or "
        "`switched`.",
        default=Standing.VERIFIED.value,
    )

    def to_spec(self) -> spec.ChangeSpec:
        """Return the value that the rest of hitless works with; its name is read from its file later."""
        return spec.ChangeSpec(name=self.file, file=self.file, standing=Standing(self.standing))


class DatabasePool(Section):
    """What the service's pools take of the database's connections."""

    per_instance: int = setting(
        "At most so many connections an instance opens: all its processes and pools together.",
        example=_CONNECTIONS.per_instance,
        ge=1,
        le=_MOST_CONNECTIONS,
    )
    jobs: int = setting(
        "At most so many jobs, workers and consoles beside the instances open.",
        default=_CONNECTIONS.jobs,
        ge=0,
        le=_MOST_CONNECTIONS,
    )
    reserve: AmountField = setting(
        "So many of the connections that the server has for users stay free, as a count or a share.",
        default=write_amount(_CONNECTIONS.reserve),
    )
    role: Annotated[RoleName | None, Given()] = setting(
        "Role that instances connect as, or with `roles` the jobs alone: its sessions are the service's own. Not set: "
        "the one in `url`; with `roles` none.",
        default=None,
        example="shop_app",
    )
    during_migration: Annotated[int | None, Given()] = setting(
        "At most so many connections an instance may open while changes are carried out; the limit of its version's "
        "role is raised for that time. Needs `roles`. Not set: no more than usual.",
        default=None,
        example=20,
        ge=1,
        le=_MOST_CONNECTIONS,
    )

    def to_spec(self) -> spec.ConnectionsSpec:
        """Return the value that the rest of hitless works with."""
        return spec.ConnectionsSpec(
            per_instance=self.per_instance,
            jobs=self.jobs,
            reserve=self.reserve,
            role=self.role,
            during_migration=self.during_migration,
        )


class Roles(Section):
    """A login role for each version, made before its first instance starts."""

    group: RoleName = setting(
        "Role that every version's is a member of; it has the privileges that the application needs.",
        example="shop_app",
    )
    prefix: Annotated[RoleName | None, Given()] = setting(
        "How their names begin, as in `shop_v1_4`. Not set: the service's name.", default=None, example="shop"
    )
    variable: VariableName = setting(
        "Variable in the environment of an instance that holds the database's URL with its version's role.",
        default=spec.RolesSpec(group="", prefix="").variable,
    )

    def to_spec(self, *, service: str) -> spec.RolesSpec:
        """Return the value that the rest of hitless works with."""
        prefix = self.prefix or service.replace("-", "_")
        return spec.RolesSpec(group=self.group, prefix=prefix, variable=self.variable)


FILE_ALONE = ShortForm(lambda path: {"file": path}, {"type": "string"})
_GROUP_ALONE = ShortForm(lambda name: {"group": name}, {"type": "string"})


class Database(Section):
    """The service's database (PostgreSQL), its schema, and its connections."""

    url: DatabaseUrl = setting(
        "Where to find its URL, for the role that changes the schema: `env:NAME`, a variable of the control plane, or "
        "`file:PATH`, a file that holds nothing else, relative to this one. A URL itself only without a password: "
        "settings are journaled.",
        example="env:MIGRATION_DATABASE_URL",
    )
    changes: list[Annotated[Change, FILE_ALONE]] = setting(
        "Changes of the schema that this release needs, in their order; carried out before its first instance starts. "
        "A file alone means: until it is verified.",
        default=[],
        example=["changes/split-name.yaml"],
    )
    switch: SwitchField = setting(
        "Once the new version has all traffic: `automatic` switches the changes, `manual` leaves that to `hitless "
        "migrate switch`.",
        default=spec.SwitchWhen.MANUAL.value,
    )
    pool: Annotated[DatabasePool | None, Given()] = setting(
        "What the service's pools take of the database's connections; held against its limits before every rollout. "
        "Not set: nobody knows, and nothing is held.",
        default=None,
    )
    roles: Annotated[Roles | None, Given(), _GROUP_ALONE] = setting(
        "A login role for each version, so that the database tells versions apart and limits each. A role's name alone "
        "means `group`. Not set: versions share a role.",
        default=None,
    )

    def to_spec(self, *, service: str) -> spec.DatabaseSpec:
        """Return the value that the rest of hitless works with."""
        return spec.DatabaseSpec(
            url=self.url,
            changes=tuple(one.to_spec() for one in self.changes),
            switch=spec.SwitchWhen(self.switch),
            connections=self.pool.to_spec() if self.pool is not None else None,
            roles=self.roles.to_spec(service=service) if self.roles is not None else None,
        )
