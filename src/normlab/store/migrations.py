"""The schema of the store, as the ordered list of changes that made it.

Entry k takes a database from version k to k + 1 (SQLite's `user_version`). An entry that was
released is never edited: a change is a new entry at the end, and one database of every earlier
version is kept with the tests.
"""

from __future__ import annotations

MIGRATIONS: tuple[str, ...] = (
    """
    CREATE TABLE studies (
        id INTEGER PRIMARY KEY,
        name TEXT NOT NULL,
        plan TEXT NOT NULL,              -- JSON: question, factors, arms, seeds, trial ids
        recorded_at TEXT NOT NULL        -- UTC, ISO 8601; the newest row is the current plan
    );
    CREATE TABLE trials (
        id TEXT PRIMARY KEY,             -- hash of recipe, seed, data digest, semantics
        recipe TEXT NOT NULL,            -- JSON, without values that are defaults
        seed INTEGER NOT NULL,
        data_digest TEXT NOT NULL,
        semantics INTEGER NOT NULL,
        state TEXT NOT NULL DEFAULT 'pending'
            CHECK (state IN ('pending', 'running', 'complete', 'diverged', 'invalid', 'failed')),
        reason TEXT,                     -- traceback of a failed, reason of an invalid trial
        result TEXT,                     -- JSON of a finished trial
        provenance TEXT,                 -- JSON: versions, machine, device, threads
        started_at TEXT,
        finished_at TEXT
    );
    CREATE TABLE epochs (
        trial_id TEXT NOT NULL REFERENCES trials (id) ON DELETE CASCADE,
        epoch INTEGER NOT NULL,
        lr REAL NOT NULL,
        train_loss REAL,
        train_accuracy REAL NOT NULL,
        train_macro_f1 REAL NOT NULL,
        train_micro_f1 REAL NOT NULL,
        validation_loss REAL,
        validation_accuracy REAL,
        validation_macro_f1 REAL,
        validation_micro_f1 REAL,
        test_loss REAL,
        test_accuracy REAL NOT NULL,
        test_macro_f1 REAL NOT NULL,
        test_micro_f1 REAL NOT NULL,
        seconds REAL NOT NULL,
        examples_per_second REAL NOT NULL,
        PRIMARY KEY (trial_id, epoch)
    ) WITHOUT ROWID;
    CREATE TABLE artifacts (
        trial_id TEXT NOT NULL REFERENCES trials (id) ON DELETE CASCADE,
        kind TEXT NOT NULL,
        path TEXT NOT NULL,              -- relative to the study's folder
        sha256 TEXT NOT NULL,
        bytes INTEGER NOT NULL,
        PRIMARY KEY (trial_id, kind)
    ) WITHOUT ROWID;
    """,
    # Running training scores may be missing (mixed images), epochs have diagnostics, and every
    # look at the results is kept.
    """
    CREATE TABLE epochs_2 (
        trial_id TEXT NOT NULL REFERENCES trials (id) ON DELETE CASCADE,
        epoch INTEGER NOT NULL,
        lr REAL NOT NULL,
        train_loss REAL,
        train_accuracy REAL,
        train_macro_f1 REAL,
        train_micro_f1 REAL,
        validation_loss REAL,
        validation_accuracy REAL,
        validation_macro_f1 REAL,
        validation_micro_f1 REAL,
        test_loss REAL,
        test_accuracy REAL NOT NULL,
        test_macro_f1 REAL NOT NULL,
        test_micro_f1 REAL NOT NULL,
        seconds REAL NOT NULL,
        examples_per_second REAL NOT NULL,
        validation_ece REAL,
        test_ece REAL,
        details TEXT NOT NULL DEFAULT '{}', -- JSON: diagnostics by name
        PRIMARY KEY (trial_id, epoch)
    ) WITHOUT ROWID;
    INSERT INTO epochs_2 SELECT *, NULL, NULL, '{}' FROM epochs;
    DROP TABLE epochs;
    ALTER TABLE epochs_2 RENAME TO epochs;
    CREATE TABLE looks (
        id INTEGER PRIMARY KEY,
        looked_at TEXT NOT NULL,         -- UTC, ISO 8601
        declared TEXT NOT NULL,          -- JSON: hashes of the claims, seeds, how they are tested
        trials TEXT NOT NULL             -- JSON: ids of the finished trials that were seen
    );
    """,
    # Runs that share a folder: who is at work, and whose a trial is while it trains.
    """
    CREATE TABLE drivers (
        id TEXT PRIMARY KEY,             -- random; its file is `run-<id>.lock`
        boot TEXT NOT NULL,              -- of the machine since it started, or its name
        host TEXT NOT NULL,              -- the machine's name
        pid INTEGER NOT NULL,
        plan INTEGER REFERENCES studies (id),
        began_at TEXT NOT NULL,          -- UTC, ISO 8601
        seen_at REAL NOT NULL,           -- seconds since 1970, of its last sign of life
        clock REAL NOT NULL              -- the same by the machine's clock that nobody sets
    ) WITHOUT ROWID;
    CREATE TABLE leases (
        trial_id TEXT PRIMARY KEY REFERENCES trials (id) ON DELETE CASCADE,
        driver TEXT NOT NULL REFERENCES drivers (id) ON DELETE CASCADE
    ) WITHOUT ROWID;
    """,
)
