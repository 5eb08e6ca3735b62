-- Uploads under way, each of one repository: the content store keeps their bytes and knows no tenants.
CREATE TABLE uploads (
    upload key_text PRIMARY KEY,
    tenant key_text NOT NULL,
    policy key_text NOT NULL,
    begun_ms BIGINT NOT NULL
);
CREATE INDEX uploads_by_tenant ON uploads (tenant);
CREATE INDEX uploads_by_time ON uploads (begun_ms);
