"""Adds the [word, count] lines of a batch to a SQLite database, once a batch: `into_sqlite.py DATABASE`, run by kstream.

The batch id and the counts become durable in one transaction, so a batch that comes again changes nothing.
"""

import json
import os
import sqlite3
import sys

database = sqlite3.connect(sys.argv[1], timeout=20)
database.execute("CREATE TABLE IF NOT EXISTS batches (job TEXT, id INTEGER, PRIMARY KEY (job, id))")
database.execute("CREATE TABLE IF NOT EXISTS words (word TEXT PRIMARY KEY, count INTEGER NOT NULL)")
counts = [json.loads(line) for line in sys.stdin]
with database:
    batch = (os.environ["KSTREAM_JOB"], int(os.environ["KSTREAM_BATCH_ID"]))
    added = database.execute("INSERT INTO batches VALUES (?, ?) ON CONFLICT DO NOTHING", batch)
    if added.rowcount == 1:
        database.executemany(
            "INSERT INTO words VALUES (?, ?) ON CONFLICT (word) DO UPDATE SET count = count + excluded.count", counts
        )
database.close()
