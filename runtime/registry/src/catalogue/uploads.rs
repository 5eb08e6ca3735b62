//! Which repository an upload belongs to: whoever learns an upload's name can go on with it in that one only.

use verdict_core::digest::Digest;
use verdict_core::name::{PolicyName, Tenant};
use verdict_core::time::Timestamp;

use super::Catalogue;
use super::database::sql;
use super::error::CatalogueError;
use super::page::{Limit, WORD_BYTES_MAX, check_text};
use super::repositories::within;
use super::write::Write;

impl Catalogue {
    /// Whether this upload belongs to the repository.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn has_upload(&self, repository: &PolicyName, upload: &str) -> Result<bool, CatalogueError> {
        check_text("upload", upload, WORD_BYTES_MAX)?;
        let select = "SELECT upload FROM uploads WHERE tenant = $1 AND policy = $2 AND upload = $3";
        Ok(self.database().one(within(repository, select).text(upload)).await?.is_some())
    }

    /// How many uploads of a tenant are under way.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn uploads(&self, tenant: &Tenant) -> Result<u64, CatalogueError> {
        let row =
            self.database().one(sql("SELECT count(*) FROM uploads WHERE tenant = $1").text(tenant)).await?;
        row.ok_or(CatalogueError::Corrupt { what: "number of uploads" })?.number(0)
    }
}

impl Write {
    /// Notes that an upload was begun in a repository.
    ///
    /// # Errors
    /// When the name is too long or taken, or the database fails.
    pub async fn begin_upload(
        &mut self,
        repository: &PolicyName,
        upload: &str,
    ) -> Result<(), CatalogueError> {
        check_text("upload", upload, WORD_BYTES_MAX)?;
        let insert = "INSERT INTO uploads (tenant, policy, upload, begun_ms) VALUES ($1, $2, $3, $4)";
        self.work.run(within(repository, insert).text(upload).time(self.change.at)).await.map(|_| ())
    }

    /// Forgets an upload that has ended.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn end_upload(&mut self, upload: &str) -> Result<(), CatalogueError> {
        check_text("upload", upload, WORD_BYTES_MAX)?;
        self.work.run(sql("DELETE FROM uploads WHERE upload = $1").text(upload)).await.map(|_| ())
    }

    /// Forgets uploads that were begun before a time, at most so many; how many went.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn forget_uploads(
        &mut self,
        begun_before: Timestamp,
        limit: Limit,
    ) -> Result<u64, CatalogueError> {
        let delete =
            "DELETE FROM uploads WHERE upload IN (SELECT upload FROM uploads WHERE begun_ms < $1 LIMIT $2)";
        self.work.run(sql(delete).time(begun_before).number(limit.rows() as u64)).await
    }

    /// A document of the repository's tenant that names this digest, in words.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn document_naming(
        &mut self,
        repository: &PolicyName,
        digest: Digest,
    ) -> Result<Option<String>, CatalogueError> {
        // The tenant's data, and the states of this policy's channels: `bank` and `bank/loan@…`.
        let select = "SELECT kind, scope, sequence FROM document_references WHERE target = $1 \
                      AND (scope = $2 OR (scope >= $3 AND scope < $4)) ORDER BY kind, scope, sequence LIMIT 1";
        let select = sql(select)
            .text(digest)
            .text(repository.tenant())
            .text(format!("{repository}@"))
            .text(format!("{repository}A"));
        let Some(row) = self.work.one(select).await? else { return Ok(None) };
        Ok(Some(format!("document {} `{}`, number {}", row.text(0)?, row.text(1)?, row.number(2)?)))
    }
}
