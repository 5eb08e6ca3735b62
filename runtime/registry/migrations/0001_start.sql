-- The catalogue's first schema, one text for SQLite and PostgreSQL.
--
-- `key_text` is text that is compared byte by byte and `blob` is bytes: SQLite reads both names as its own types, for
-- PostgreSQL they are domains that are made before this text runs. Times are milliseconds since 1970 in UTC. `etag` is
-- the number of times that a row was written.

-- One row: the number of the last event. Every transaction that writes holds its lock until it ends, so events are
-- numbered in the order in which they become visible, without gaps.
CREATE TABLE event_head (one BIGINT PRIMARY KEY CHECK (one = 1), seq BIGINT NOT NULL);
INSERT INTO event_head (one, seq) VALUES (1, 0);

CREATE TABLE events (
    seq BIGINT PRIMARY KEY,
    at_ms BIGINT NOT NULL,
    actor TEXT NOT NULL,
    correlation TEXT NOT NULL,
    kind key_text NOT NULL,
    tenant key_text, -- none: it concerns every tenant
    subject key_text NOT NULL,
    digest key_text,
    detail TEXT NOT NULL -- JSON, an object of texts
);
CREATE INDEX events_by_tenant ON events (tenant, seq);

CREATE TABLE tenants (
    name key_text PRIMARY KEY,
    description TEXT NOT NULL,
    created_ms BIGINT NOT NULL,
    etag BIGINT NOT NULL
);

CREATE TABLE policies (
    tenant key_text NOT NULL REFERENCES tenants (name),
    name key_text NOT NULL,
    description TEXT NOT NULL,
    category key_text NOT NULL,
    metadata TEXT NOT NULL, -- JSON, an object
    state key_text NOT NULL CHECK (state IN ('open', 'archived')),
    created_ms BIGINT NOT NULL,
    updated_ms BIGINT NOT NULL,
    etag BIGINT NOT NULL,
    PRIMARY KEY (tenant, name)
);

CREATE TABLE versions (
    tenant key_text NOT NULL,
    policy key_text NOT NULL,
    version key_text NOT NULL,
    image key_text NOT NULL,
    statement key_text NOT NULL,
    component key_text NOT NULL,
    predecessor key_text,
    state key_text NOT NULL CHECK (state IN ('published', 'revoked')),
    published_ms BIGINT NOT NULL,
    published_by TEXT NOT NULL,
    seq BIGINT NOT NULL, -- of the event that told of it
    etag BIGINT NOT NULL,
    PRIMARY KEY (tenant, policy, version),
    FOREIGN KEY (tenant, policy) REFERENCES policies (tenant, name)
);
CREATE INDEX versions_by_time ON versions (tenant, policy, seq);
CREATE INDEX versions_by_image ON versions (tenant, policy, image);

-- What is attached to an image: the author's statement, approvals, test results.
CREATE TABLE statements (
    tenant key_text NOT NULL REFERENCES tenants (name),
    policy key_text NOT NULL,
    envelope key_text NOT NULL,
    image key_text NOT NULL,
    payload key_text NOT NULL,
    manifest key_text,
    predicate_type TEXT NOT NULL,
    attached_ms BIGINT NOT NULL,
    attached_by TEXT NOT NULL,
    seq BIGINT NOT NULL,
    PRIMARY KEY (tenant, policy, image, envelope)
);
CREATE INDEX statements_by_time ON statements (tenant, policy, image, seq);

-- A repository is `tenant/policy`. A blob is visible only where it was pushed or mounted.
CREATE TABLE repository_blobs (
    tenant key_text NOT NULL REFERENCES tenants (name),
    policy key_text NOT NULL,
    digest key_text NOT NULL,
    bytes BIGINT NOT NULL,
    linked_ms BIGINT NOT NULL,
    PRIMARY KEY (tenant, policy, digest)
);
CREATE INDEX repository_blobs_by_digest ON repository_blobs (digest);
CREATE INDEX repository_blobs_by_time ON repository_blobs (linked_ms);

CREATE TABLE manifests (
    tenant key_text NOT NULL REFERENCES tenants (name),
    policy key_text NOT NULL,
    digest key_text NOT NULL,
    media_type TEXT NOT NULL,
    bytes BIGINT NOT NULL,
    subject key_text,
    artifact_type key_text NOT NULL,
    annotations TEXT NOT NULL, -- JSON, an object of texts
    pushed_ms BIGINT NOT NULL,
    pushed_by TEXT NOT NULL,
    PRIMARY KEY (tenant, policy, digest)
);
CREATE INDEX manifests_by_subject ON manifests (tenant, policy, subject, digest);
CREATE INDEX manifests_by_digest ON manifests (digest);

-- What a manifest needs: its config, layers, and the manifests of an index. Its subject is not among them.
CREATE TABLE manifest_references (
    tenant key_text NOT NULL,
    policy key_text NOT NULL,
    digest key_text NOT NULL,
    target key_text NOT NULL,
    PRIMARY KEY (tenant, policy, digest, target),
    FOREIGN KEY (tenant, policy, digest) REFERENCES manifests (tenant, policy, digest) ON DELETE CASCADE
);
CREATE INDEX manifest_references_by_target ON manifest_references (target);

CREATE TABLE tags (
    tenant key_text NOT NULL,
    policy key_text NOT NULL,
    tag key_text NOT NULL,
    digest key_text NOT NULL,
    updated_ms BIGINT NOT NULL,
    etag BIGINT NOT NULL,
    PRIMARY KEY (tenant, policy, tag),
    FOREIGN KEY (tenant, policy, digest) REFERENCES manifests (tenant, policy, digest) ON DELETE CASCADE
);
CREATE INDEX tags_by_digest ON tags (tenant, policy, digest);

-- Signed documents with their history. What they say is decided by their signatures, never by these columns.
CREATE TABLE documents (
    kind key_text NOT NULL,
    scope key_text NOT NULL,
    sequence BIGINT NOT NULL,
    digest key_text NOT NULL,
    envelope blob NOT NULL,
    issued_ms BIGINT NOT NULL,
    expires_ms BIGINT NOT NULL,
    stored_ms BIGINT NOT NULL,
    stored_by TEXT NOT NULL,
    PRIMARY KEY (kind, scope, sequence)
);

CREATE TABLE document_references (
    kind key_text NOT NULL,
    scope key_text NOT NULL,
    sequence BIGINT NOT NULL,
    target key_text NOT NULL,
    PRIMARY KEY (kind, scope, sequence, target),
    FOREIGN KEY (kind, scope, sequence) REFERENCES documents (kind, scope, sequence)
);
CREATE INDEX document_references_by_target ON document_references (target);

-- Blobs that must stay although nothing here refers to them yet: a push under way, a log, a hold.
CREATE TABLE pins (
    digest key_text NOT NULL,
    holder key_text NOT NULL,
    until_ms BIGINT, -- none: until it is taken away
    PRIMARY KEY (digest, holder)
);
CREATE INDEX pins_by_holder ON pins (holder);

CREATE TABLE api_keys (
    id key_text PRIMARY KEY,
    tenant key_text REFERENCES tenants (name), -- none: every tenant
    hash key_text NOT NULL UNIQUE,
    person TEXT NOT NULL,
    roles TEXT NOT NULL, -- JSON, a list of texts
    created_ms BIGINT NOT NULL,
    expires_ms BIGINT,
    revoked_ms BIGINT,
    etag BIGINT NOT NULL
);

CREATE TABLE idempotency (
    caller key_text NOT NULL,
    name key_text NOT NULL,
    request key_text NOT NULL,
    status BIGINT NOT NULL,
    headers TEXT NOT NULL, -- JSON, a list of pairs of texts
    body blob NOT NULL,
    expires_ms BIGINT NOT NULL,
    PRIMARY KEY (caller, name)
);
CREATE INDEX idempotency_by_time ON idempotency (expires_ms);
