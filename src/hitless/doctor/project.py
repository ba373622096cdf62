"""Judges of the project: its file, its store, who writes to it, what runs of it."""

from __future__ import annotations

import shlex

from hitless.doctor.finding import Finding, Findings, failed, ok, unknown, warning
from hitless.doctor.measures import Configuration, LeaseState, Leftovers, RunningVersion, StoreState, Stray


def configuration(found: Configuration) -> Findings:
    """`hitless.yaml` says what `hitless validate` accepts."""
    if found.path is None:
        text = f"no hitless.yaml in {found.looked_in} or above: only the machine is looked at"
        return (warning(text, "hitless init", "hitless --project DIR doctor"),)
    if not found.complaints:
        return (ok(f"{found.path} is valid: {', '.join(found.services)}"),)
    return tuple((warning if one.is_warning else failed)(one.text, one.command) for one in found.complaints)


def store(found: StoreState) -> Findings:
    """The store opens and is whole."""
    path = shlex.quote(found.path)
    check = f"sqlite3 {path} 'pragma integrity_check'"
    if not found.exists:
        return (ok(f"{found.path} is not there yet; hitless up makes it"),)
    if found.problem is not None:
        return (failed(f"{found.path}: {found.problem}", check, "hitless explain HL6304"),)
    if found.schema is None or found.schema > found.known_schema:
        text = f"{found.path} has schema {found.schema}, this hitless knows {found.known_schema}"
        return (failed(text, "pip install --upgrade hitless", "hitless explain HL6306"),)
    if found.integrity is None:
        return (unknown(f"checking {found.path} takes longer than {found.patience_s:.0f} s", check),)
    if found.integrity != "ok":
        return (failed(f"{found.path} is damaged: {found.integrity}", check, "hitless explain HL6304"),)
    return (ok(f"{found.path} is whole, schema {found.schema}"),)


def journal(found: StoreState) -> Findings:
    """Its newest records hold; all of them is `journal verify`'s work."""
    if not found.exists:
        return (ok("nothing is written yet"),)
    if found.problem is not None or found.schema is None:
        return (unknown("the store cannot be read", "hitless doctor --only store"),)
    if found.journal_break is not None:
        return (failed(found.journal_break, "cp -a .hitless hitless-evidence", "hitless explain HL6080"),)
    return (ok(f"the newest {found.verified} of {found.records} records hold"),)


def lease(found: LeaseState | None) -> Findings:
    """Somebody looks after what runs, and is alive."""
    if found is None:
        return (ok("nothing was started yet"),)
    if found.owner is None:
        text = "no control plane runs"
        return (
            warning(f"{text}: instances that die are not replaced", "hitless up") if found.has_services else ok(text),
        )
    if found.is_alive is None:
        return (_elsewhere(found),)
    if not found.is_alive:
        text = f"the control plane {found.owner} has died without a word: nobody replaces instances that die"
        return (warning(text, "hitless up"),)
    if found.runs_out_in_s < 0:
        text = f"process {found.pid} holds the lease and has not renewed it for {-found.runs_out_in_s:.0f} s: it hangs"
        return (failed(text, f"ps -o pid,stat,wchan,args -p {found.pid}", f"kill {found.pid} && hitless up"),)
    return (ok(f"held by process {found.pid}, renewed"),)


def _elsewhere(found: LeaseState) -> Finding:
    if found.runs_out_in_s < 0:
        return warning(f"{found.owner}, on another machine, let its lease run out", "hitless up")
    text = f"held on another machine by {found.owner}: whether that process lives cannot be seen from here"
    return unknown(text, "hitless status")


def leftovers(found: Leftovers) -> Findings:
    """Every process of this project is on record."""
    if found.strays:
        return tuple(_stray(one) for one in found.strays)
    return (ok(f"{found.known} processes of this project, all on record"),)


def _stray(one: Stray) -> Finding:
    text = f"process {one.pid} is {one.what} and is on no record: {one.command}"
    return warning(text, f"ps -o pid,lstart,args -p {one.pid}", f"kill {one.pid}   # once it is known to serve nobody")


def run(found: tuple[RunningVersion, ...]) -> Findings:
    """What is deployed could be started again."""
    bad = tuple(_unstartable(one) for one in found if one.problem is not None)
    if bad:
        return bad
    if not found:
        return (ok("nothing is deployed yet"),)
    return (ok(f"directory and program exist: {', '.join(f'{one.service} {one.version}' for one in found)}"),)


def _unstartable(one: RunningVersion) -> Finding:
    deploy = f"hitless deploy {one.service} --version VERSION   # one whose files are there"
    if one.is_wanted:
        return failed(f"{one.service} {one.version} could not be started again: {one.problem}", deploy)
    return warning(f"{one.service} could not return to {one.version}: {one.problem}", deploy)
