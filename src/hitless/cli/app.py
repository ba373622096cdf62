"""The commands of `hitless`, by name. Each is loaded only when it is called, so `--help` and `status` start fast."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from cyclopts import App, Group, Parameter

from hitless import __version__
from hitless.cli.outcome import EXIT_CODES

DAILY = Group("Daily", sort_key=1)
PROJECT = Group("Project", sort_key=2)
CONTROL = Group("Control plane", sort_key=3)
NOUNS = Group("More", sort_key=4)


@dataclass(frozen=True, slots=True)
class Command:
    """Where the function is, what it does in a line, and what else its own help page says."""

    place: str
    summary: str
    group: Group | None = None
    details: str = ""

    @property
    def help(self) -> str:
        """The text of the help page; lists show its first line."""
        return f"{self.summary}\n\n{self.details}" if self.details else self.summary


DEPLOY_DETAILS = """\
Waits until the version is in or turned away. Exits 0 when it completed, 3 when it was rolled back and the service \
is healthy on the old version, 4 when it was refused, 5 when the time-out passed, 6 when a human is needed, 7 when \
another rollout is in the way or took over. Ctrl-C detaches: the rollout goes on."""

PREFLIGHT_DETAILS = """\
Two instances start, get no user, are asked, loaded and ended. Every deploy does this first, unless hitless.yaml says \
`preflight: off`. Exits 0 when nothing was found that a rollout would be refused for, 4 when something was."""

UP_DETAILS = """\
Runs in the foreground. Ctrl-C or SIGTERM ends the control plane alone: Envoy and instances go on, users notice \
nothing and the next `hitless up` takes them over. That is how hitless itself is upgraded. `hitless down` ends \
everything."""

DOWN_DETAILS = (
    "Users are cut off. Says what ends and asks; --yes does not ask, and is needed where nobody can be asked."
)

LOAD_DETAILS = """\
Every kind of client at a constant rate, whatever became of earlier requests; each request's fate is counted by \
cause and by version. Exits 0 when nothing failed, 1 when something did, 6 when nothing is proven (not all was sent, \
 answered or checked)."""

DEMO_DETAILS = """\
Starts everything that it shows in a folder of its own, and removes it. Without options: rollouts, bad versions and \
killed processes under load. With --migrate: a table of a real PostgreSQL is changed while two releases read and write \
it, and every value is compared. Exits 0 when no request failed and no value was wrong."""

DOCTOR_DETAILS = """\
Looks at the machine (kernel limits, memory, disk, clock, Envoy's program) and at the project (addresses, \
certificates, store, journal, what is deployed), with or without a running control plane, and names the next command \
for whatever is not fine. Exits 0 when all is ok or a warning, 6 when a check failed or could not tell."""

ABORT_DETAILS = "Waits until the service is healthy on the old version, and exits 0 then: that is what was asked for."

RESTART_DETAILS = """\
Starts the Envoy of this hitless beside the one that runs. The new one takes over the listening sockets, the old one \
finishes its requests and streams. Exits 4 when that would cut something, and nothing was touched then; --cut goes on \
all the same, says so and asks."""

ANALYSE_DETAILS = """\
Requests are JSON lines such as {"t": 12.034, "arm": "canary", "region": "eu", "route": "/pay", "ok": true, \
"ms": 31.5, "instance": "a"}: t in seconds from the start, at most 5 s out of order. A recording of \
.hitless/recordings is judged with its own settings unless an option says otherwise. --metric compares the means of \
two columns by an asymptotic confidence sequence (Waudby-Smith et al. 2024) in the order of arrival. Exits 0 when the \
new version is shown to be no worse, 3 when it is shown to be worse, 6 when neither is shown."""

PLAN_DETAILS = """\
With --rate, and without a control plane: how many requests and how long each step of the canary needs to be left, \
what it finds within its hold, and which holds would do."""

CALIBRATE_DETAILS = """\
Takes what the control plane has measured lately, 45 minutes at most, or a file that `hitless analyse` reads. One half \
of it is the background, the other is judged as a rollout, the version split into two: by request, and by instance \
where there are several. Says how often each row fires beside what is promised, and proposes settings as far as they \
can be measured. Needs 10 minutes and 2,000 requests. Exits 6 when there are too few, when the judge fires more often \
than promised, or when it would silence itself."""

LINT_DETAILS = """\
Paths are files, folders (their *.sql in natural order) or - for stdin; all of them are one history, so that a safe \
sequence is not flagged. Exits 0 when nothing is refused, 4 when something is, 2 when something cannot be read; \
--strict refuses warnings too. A comment before a statement lets a finding pass: -- hitless: allow RULE: reason."""

MIGRATE_PLAN_DETAILS = """\
Without a schema what is not known is assumed, and said. The output is a script for psql. Exits 2 with every problem \
and its place when a file is wrong, 4 when a change cannot be made without downtime as it is written."""

GUARD_DETAILS = """\
Asks every version that runs or that a rollback could bring back, every role that is connected and every registered \
consumer: what has it sent? Each statement is prepared on a copy of the schema on which the contract has been \
applied. CLEAR, \
REFERENCES or UNKNOWN; anything but CLEAR blocks. Changes nothing. Exits 0 when clear, 4 when blocked."""

CONTRACT_DETAILS = """\
Each stop asks the guard anew: brownout takes privileges, hide renames, drop comes after --retention and cannot be \
taken back. --watch looks afterwards, and gives back by itself (exit 3). Exits 0 when done, 4 when the \
guard blocks, 130 when stopped."""

EXPORT_DETAILS = (
    "Each line is a record in the form that was hashed, so that the export proves itself; without an envelope."
)

EXPAND_DETAILS = """\
A change file is planned for the schema as it is, kept in the database (schema hitless) and carried out, step by step; \
each step commits with its record. No lock is waited for longer than 100 ms; who is in the way is named. Killed or \
stopped, the same command goes on. Exits 0 when done, 4 when refused, 5 when locks were not had within --patience, 7 \
when another worker has the change, 130 when stopped."""

BACKFILL_DETAILS = """\
Walks through the table by its key, in batches of 75 ms, each with its position in one transaction: killed or stopped \
at any moment, the same command goes on, and no row is filled twice. Rests while writers get slow, replicas fall \
behind, a slot keeps too much WAL, connections run out or the table is vacuumed. Exits 0 when done, 4 when a row \
cannot be filled, 5 when somebody held locks for longer than --patience, 7 when another worker has the change, 130 \
when stopped. --pause, --resume and limits reach a worker that is running."""

VERIFY_DETAILS = """\
A row is right where the new columns are what the old ones give, or the other way round. Exits 0 when all are, 4 when \
one is not: the first 20 are shown by their keys, and `switch` stays shut."""

SWITCH_DETAILS = """\
Begins where the change is verified. Old values stay right after it, and `undo --to verified` takes it back."""

UNDO_DETAILS = """\
At any time before the contract's last step. Steps are taken back in the opposite order, with locks as short. The last \
change to go takes the schema hitless with it. Says what ends and asks; --yes does not ask, and is needed where nobody \
can be asked."""

STATUS_DETAILS = """\
A lane per change; below it, what no change accounts for: indexes that are not whole, triggers, columns, copies of the \
schema. --fix takes away what holds no data. Exits 0, or 6 when something is left over."""

TRACE_DETAILS = """\
Each statement runs on a throw-away copy of the schema, without rows: the locks that it takes and the tables that it \
reads or writes anew, beside what the lint says. The copy is made of --database or of --schema, on the same server \
unless --scratch names another. Exits 0, or 4 when a statement fails."""

RUN_DETAILS = """\
Lints first, and refuses what the lint refuses unless the file allows it. Then each statement, or each transaction \
that the file opens, runs as a step: with short locks, recorded, so that the same command goes on where it was \
stopped. A file that has changed since it was begun is refused."""

TOP: Mapping[str, Command] = {
    "deploy": Command("deploy:deploy", "Bring a version in.", DAILY, DEPLOY_DETAILS),
    "status": Command("status:status", "Show what runs: versions, traffic, instances, rollouts.", DAILY),
    "logs": Command("logs:logs", "Show what instances wrote; works without a control plane.", DAILY),
    "plan": Command("project:plan", "Show what a deploy would do; writes nothing.", DAILY, PLAN_DETAILS),
    "preflight": Command(
        "preflight:preflight", "Examine a version out of rotation; changes nothing.", DAILY, PREFLIGHT_DETAILS
    ),
    "init": Command("project:init", "Write a commented hitless.yaml.", PROJECT),
    "validate": Command("project:validate", "Check hitless.yaml; exits 2 with every problem and its place.", PROJECT),
    "schema": Command("project:schema", "Print the JSON Schema of hitless.yaml, for editors.", PROJECT),
    "doctor": Command(
        "doctor:doctor", "Tell whether machine and project are fit for rollouts.", PROJECT, DOCTOR_DETAILS
    ),
    "up": Command(
        "control_plane:up", "Run the control plane; start or adopt Envoy and instances.", CONTROL, UP_DETAILS
    ),
    "down": Command(
        "control_plane:down", "End everything: instances, Envoy, the control plane.", CONTROL, DOWN_DETAILS
    ),
    "analyse": Command(
        "analyse:analyse",
        "Judge what has happened: requests, a recorded rollout, or two columns.",
        NOUNS,
        ANALYSE_DETAILS,
    ),
    "calibrate": Command(
        "calibrate:calibrate",
        "Try the judge on the old version alone: false alarms, settings that fit.",
        NOUNS,
        CALIBRATE_DETAILS,
    ),
    "demo": Command("demo:demo", "Show hitless at work on this machine, about a minute.", NOUNS, DEMO_DETAILS),
    "load": Command("load:load", "Send requests of every kind, and count the fate of each.", NOUNS, LOAD_DETAILS),
    "explain": Command("explain:explain", "Explain an error code, or a rule of the lint, offline.", NOUNS),
}
ROLLOUT: Mapping[str, Command] = {
    "list": Command("rollout:list_rollouts", "List rollouts, newest first."),
    "get": Command("rollout:get", "Show one rollout; with --watch, follow it, and exit as `deploy` does."),
    "promote": Command("rollout:promote", "Go on to the next stage now; readiness and checks are not waived."),
    "pause": Command("rollout:pause", "Stay in the present stage."),
    "resume": Command("rollout:resume", "Go on after a pause."),
    "abort": Command("rollout:abort", "Take the new version back.", None, ABORT_DETAILS),
    "undo": Command("rollout:undo", "Take back what completed last: to the version, or the settings, before."),
}
JOURNAL: Mapping[str, Command] = {
    "tail": Command("journal:tail", "Show the newest records."),
    "show": Command("journal:show", "Show one record with all its data."),
    "verify": Command("journal:verify", "Recompute the whole chain of hashes; exits 6 when it is broken."),
    "export": Command("journal:export", "Write all records as JSON Lines.", None, EXPORT_DETAILS),
}
ENVOY: Mapping[str, Command] = {
    "status": Command("envoy:status", "Show Envoy's process, and whether it should be exchanged."),
    "restart": Command("envoy:restart", "Exchange Envoy without a failed request.", None, RESTART_DETAILS),
}
MIGRATE: Mapping[str, Command] = {
    "lint": Command("migrate:lint", "Judge migrations: locks, compatibility, data.", None, LINT_DETAILS),
    "rules": Command("migrate:rules", "List the rules of the lint, or explain one."),
    "plan": Command("migrate_plan:plan", "Print what a change would do, as SQL.", None, MIGRATE_PLAN_DETAILS),
    "expand": Command("migrate_expand:expand", "Add what the next release needs.", None, EXPAND_DETAILS),
    "backfill": Command(
        "migrate_backfill:backfill", "Fill the rows that are there, in batches.", None, BACKFILL_DETAILS
    ),
    "verify": Command("migrate_verify:verify", "Compare old and new columns in every row.", None, VERIFY_DETAILS),
    "switch": Command("migrate_expand:switch", "Make the new columns those that count.", None, SWITCH_DETAILS),
    "guard": Command("migrate_guard:guard", "Tell who still needs what a contract removes.", None, GUARD_DETAILS),
    "contract": Command("migrate_contract:contract", "Take away what nobody needs.", None, CONTRACT_DETAILS),
    "undo": Command("migrate_undo:undo", "Take a change back.", None, UNDO_DETAILS),
    "status": Command(
        "migrate_status:status", "Show where changes stand, and what was left over.", None, STATUS_DETAILS
    ),
    "trace": Command(
        "migrate_trace:trace", "Show what files really lock, on a copy of the schema.", None, TRACE_DETAILS
    ),
    "run": Command("migrate_run:run", "Run plain SQL files with short locks.", None, RUN_DETAILS),
}
GROUPS = {"rollout": ROLLOUT, "migrate": MIGRATE, "journal": JOURNAL, "envoy": ENVOY}
GROUP_SUMMARIES = {
    "rollout": "Rollouts: look at them and steer them.",
    "migrate": "Schema changes without downtime.",
    "journal": "The journal: every decision, chained by hashes.",
    "envoy": "Envoy, the proxy: look at it, and exchange it while it serves.",
}


def build() -> App:
    """Build the application; no command is imported."""
    app = App(
        name="hitless",
        help="Zero-downtime releases: rolling, blue-green and canary rollouts with no failed request.",
        help_epilogue=EXIT_CODES,
        help_format="plaintext",
        version=__version__,
        default_parameter=Parameter(negative=()),
        result_action="return_value",
        exit_on_error=False,
        print_error=False,
        suppress_keyboard_interrupt=False,
    )
    for flag in (*app.help_flags, *app.version_flags):
        app[flag].group = (NOUNS,)
    _add(app, TOP)
    for name, commands in GROUPS.items():
        group = App(name=name, help=GROUP_SUMMARIES[name], group=NOUNS)
        _add(group, commands)
        app.command(group)
    return app


def _add(app: App, commands: Mapping[str, Command]) -> None:
    for name, command in commands.items():
        app.command(f"hitless.cli.{command.place}", name=name, help=command.help, group=command.group)
