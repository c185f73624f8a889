PRAGMA journal_mode = WAL;
-- A ledger as the first format was, for the test that migrates it.
CREATE TABLE lead(fence INTEGER NOT NULL) STRICT;
INSERT INTO lead VALUES (0);

CREATE TABLE run(
    seq     INTEGER PRIMARY KEY AUTOINCREMENT,
    id      TEXT NOT NULL UNIQUE,
    feed    TEXT NOT NULL,
    account TEXT NOT NULL,
    source  TEXT NOT NULL,
    folder  BLOB NOT NULL,
    name    BLOB NOT NULL,
    size    INTEGER NOT NULL,
    mtime   INTEGER NOT NULL,
    state   TEXT NOT NULL,
    kind    TEXT NOT NULL,
    parent  TEXT,
    sha256  TEXT,
    detail  TEXT NOT NULL,
    wish    TEXT
) STRICT;
CREATE INDEX run_state ON run(state);
CREATE INDEX run_feed ON run(feed, seq);
CREATE INDEX run_name ON run(name);

-- Unchanged rows are not here. Numbers follow the order of writing, which for rows with a pass is the order of pass keys:
-- that keeps this table, its index and the baseline append-mostly.
CREATE TABLE row(
    run       INTEGER NOT NULL REFERENCES run(seq) ON DELETE CASCADE,
    number    INTEGER NOT NULL,
    record    INTEGER NOT NULL,
    line      INTEGER NOT NULL,
    offset    INTEGER NOT NULL,
    length    INTEGER NOT NULL,
    pass_high INTEGER,
    pass_low  INTEGER,
    verb      TEXT NOT NULL,
    mask      INTEGER NOT NULL,
    deferred  INTEGER NOT NULL,
    outcome   TEXT,
    detail    TEXT NOT NULL,
    PRIMARY KEY (run, number)
) STRICT, WITHOUT ROWID;
CREATE INDEX row_pass ON row(pass_high, run, number) WHERE pass_high IS NOT NULL;

CREATE TABLE field(
    account TEXT NOT NULL,
    id      INTEGER NOT NULL,
    name    TEXT NOT NULL,
    PRIMARY KEY (account, id),
    UNIQUE (account, name)
) STRICT, WITHOUT ROWID;

CREATE TABLE account(
    id   INTEGER PRIMARY KEY,
    name TEXT NOT NULL UNIQUE
) STRICT;

-- No identifier and no value: digests only.
CREATE TABLE baseline(
    account   INTEGER NOT NULL REFERENCES account(id),
    pass_high INTEGER NOT NULL,
    pass_low  INTEGER NOT NULL,
    fields    BLOB NOT NULL,
    PRIMARY KEY (account, pass_high, pass_low)
) STRICT, WITHOUT ROWID;

CREATE TABLE paused(
    feed TEXT PRIMARY KEY,
    by   TEXT NOT NULL,
    at   TEXT NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TABLE source(
    name          TEXT PRIMARY KEY,
    listed_at     TEXT,
    trouble       TEXT,
    trouble_since TEXT
) STRICT, WITHOUT ROWID;

PRAGMA application_id = 1885434739;
PRAGMA user_version = 1;
