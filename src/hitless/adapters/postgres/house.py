"""The schema `hitless` in the user's database: where each change stands, and what was done to it.

Why there. A step and the record that it was done commit in one transaction, so no crash of a worker, a server or a
machine makes the two disagree; and a database that is restored from a backup brings the state that belongs to it.

Rules.
* Every transaction that writes here holds the row of its change and its fence (`Hold.confirm`): a worker that was
  paused and comes back finds another fence, and writes nothing.
* What is made here is taken away with the last change that is undone: then nothing in the database tells that we were
  there. Grants, owners and comments of the user's objects are never kept here only.
* Tables are only added to, and columns only with defaults: older workers go on with a newer house.
"""

from __future__ import annotations

SCHEMA = "hitless"

TABLES = (
    "CREATE SCHEMA IF NOT EXISTS hitless",
    """CREATE TABLE IF NOT EXISTS hitless.change (
        id text PRIMARY KEY,
        spec jsonb NOT NULL,
        plan jsonb NOT NULL,
        standing text NOT NULL DEFAULT 'planned',
        wanted text NOT NULL DEFAULT 'planned',
        fence bigint NOT NULL DEFAULT 0,
        worker text,
        begun_at timestamptz NOT NULL DEFAULT clock_timestamp(),
        changed_at timestamptz NOT NULL DEFAULT clock_timestamp())""",
    """CREATE TABLE IF NOT EXISTS hitless.step (
        change text NOT NULL REFERENCES hitless.change ON DELETE CASCADE,
        id text NOT NULL,
        done_at timestamptz NOT NULL DEFAULT clock_timestamp(),
        evidence jsonb NOT NULL DEFAULT '{}',
        PRIMARY KEY (change, id))""",
    """CREATE TABLE IF NOT EXISTS hitless.backfill (
        change text NOT NULL REFERENCES hitless.change ON DELETE CASCADE,
        step text NOT NULL,
        upper jsonb,
        position jsonb,
        rows bigint NOT NULL DEFAULT 0,
        changed bigint NOT NULL DEFAULT 0,
        batches bigint NOT NULL DEFAULT 0,
        paused boolean NOT NULL DEFAULT false,
        limits jsonb NOT NULL DEFAULT '{}',
        begun_at timestamptz NOT NULL DEFAULT clock_timestamp(),
        changed_at timestamptz NOT NULL DEFAULT clock_timestamp(),
        evidence jsonb NOT NULL DEFAULT '{}',
        PRIMARY KEY (change, step))""",
    """CREATE TABLE IF NOT EXISTS hitless.event (
        number bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
        change text NOT NULL,
        at timestamptz NOT NULL DEFAULT clock_timestamp(),
        actor text NOT NULL,
        type text NOT NULL,
        data jsonb NOT NULL DEFAULT '{}')""",
    """CREATE TABLE IF NOT EXISTS hitless.role (
        role text PRIMARY KEY,
        service text NOT NULL,
        version text NOT NULL,
        made_at timestamptz NOT NULL DEFAULT clock_timestamp())""",
    """CREATE TABLE IF NOT EXISTS hitless.fingerprint (
        change text NOT NULL REFERENCES hitless.change ON DELETE CASCADE,
        moment text NOT NULL,
        taken_at timestamptz NOT NULL DEFAULT clock_timestamp(),
        hanging jsonb NOT NULL,
        PRIMARY KEY (change, moment))""",
)
"""Idempotent; what a later version needs is added at the end."""
