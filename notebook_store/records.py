"""Entries as rows of the log: writing one, reading one back."""

from __future__ import annotations

import json
import sqlite3

from notebook_store.entry import Attachment, Citation, Entry, Kind, Link, Relation, details


def insert(connection: sqlite3.Connection, entry: Entry, digest: str) -> int:
    """Writes an entry whose id is free; its place in the log."""
    cursor = connection.execute(
        "INSERT INTO entries (id, digest, kind, title, body, keywords, author, session, task, experiment, outcome,"
        " created_at, details) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
        (
            entry.id,
            digest,
            entry.kind.value,
            entry.title,
            entry.body,
            " ".join((entry.id, entry.experiment or "", *entry.factors, entry.author)),
            entry.author,
            entry.session,
            entry.task,
            entry.experiment,
            entry.outcome,
            entry.created_at,
            json.dumps(details(entry)),
        ),
    )
    seq = int(cursor.lastrowid or 0)
    connection.executemany(
        "INSERT INTO links VALUES (?, ?, ?)", [(seq, link.kind.value, link.target) for link in entry.links]
    )
    connection.executemany("INSERT INTO factors VALUES (?, ?)", [(factor, seq) for factor in set(entry.factors)])
    connection.executemany(
        "INSERT OR IGNORE INTO attachments VALUES (?, ?)",
        [(attached.sha256, attached.data) for attached in entry.attachments],
    )
    return seq


def entry_of(connection: sqlite3.Connection, row: sqlite3.Row) -> Entry:
    """The entry that a row of `entries` holds. Raises LookupError when an attachment is gone."""
    more = json.loads(row["details"])
    return Entry(
        id=row["id"],
        kind=Kind(row["kind"]),
        title=row["title"],
        body=row["body"],
        author=row["author"],
        session=row["session"],
        task=row["task"],
        created_at=row["created_at"],
        experiment=row["experiment"],
        factors=tuple(more["factors"]),
        links=tuple(Link(kind=Relation(link["kind"]), target=link["target"]) for link in more["links"]),
        citations=tuple(Citation(**cited) for cited in more["citations"]),
        data=more["data"],
        attachments=tuple(_attachment(connection, attached) for attached in more["attachments"]),
    )


def _attachment(connection: sqlite3.Connection, attached: dict[str, str]) -> Attachment:
    row = connection.execute("SELECT data FROM attachments WHERE sha256 = ?", (attached["sha256"],)).fetchone()
    if row is None:
        raise LookupError(f"attachment {attached['name']} is gone from the log")
    return Attachment(name=attached["name"], media_type=attached["media_type"], data=row["data"])
