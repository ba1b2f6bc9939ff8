"""Adds one batch of (shop, cents) lines to the takings in a SQLite database, once however often it is run.

    into_sqlite.py DATABASE < lines

The batch id is inserted in the same transaction as the sums: where it is there already, the batch is a repeat.
"""

import json
import os
import sqlite3
import sys


def main(path):
    # Ids count within a checkpoint, and a rewind begins a new timeline of it.
    checkpoint = os.environ["KSTREAM_CHECKPOINT"] + "/" + os.environ["KSTREAM_TIMELINE"]
    batch = int(os.environ["KSTREAM_BATCH_ID"])
    time_ms = int(os.environ["KSTREAM_BATCH_TIME"])
    rows = [json.loads(line) for line in sys.stdin]
    if len(rows) != int(os.environ["KSTREAM_BATCH_ELEMENTS"]):
        sys.exit("stdin ended early: kstream is gone, and will send the batch again")

    database = sqlite3.connect(path, timeout=30, isolation_level=None)
    database.execute("PRAGMA synchronous = FULL")
    # IMMEDIATE: a process that outlived a killed kstream may still be at work on the same batch.
    database.execute("BEGIN IMMEDIATE")
    database.execute("CREATE TABLE IF NOT EXISTS batches (checkpoint TEXT, id INTEGER, time_ms INTEGER, PRIMARY KEY (checkpoint, id))")
    database.execute("CREATE TABLE IF NOT EXISTS takings (shop TEXT PRIMARY KEY, cents INTEGER)")
    new = database.execute(
        "INSERT INTO batches VALUES (?, ?, ?) ON CONFLICT DO NOTHING", (checkpoint, batch, time_ms)
    ).rowcount
    if new:
        database.executemany(
            "INSERT INTO takings VALUES (?, ?) ON CONFLICT (shop) DO UPDATE SET cents = cents + excluded.cents", rows
        )
    database.execute("COMMIT")
    database.close()
    print("batch %d: %s" % (batch, "%d shops" % len(rows) if new else "a repeat, dropped"))


if __name__ == "__main__":
    main(*sys.argv[1:])
