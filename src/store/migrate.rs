//! Migration sets: each a folder compiled in, with its own bookkeeping table in schema `rowcast`.

use sqlx::migrate::Migrator;

use super::{Store, StoreError};

/// Which set of migrations.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MigrationSet {
    /// Schema `rowcast`: capture, log, doorbell, channels.
    Core,
    /// Schema `rowcast_reference` and the tables of the reference applications: orders, learning, portfolios. Needs `Core`.
    Reference,
}

/// What `migrate` did.
#[derive(Clone, Debug)]
pub struct Applied {
    /// Versions and descriptions that were applied now, in order.
    pub now: Vec<(i64, String)>,
    /// How many the set has.
    pub total: usize,
}

static CORE: Migrator = sqlx::migrate!("./migrations");
static REFERENCE: Migrator = sqlx::migrate!("./migrations/reference");

impl MigrationSet {
    fn migrator(self) -> Migrator {
        let (embedded, table) = match self {
            Self::Core => (&CORE, "rowcast._migration"),
            Self::Reference => (&REFERENCE, "rowcast._migration_reference"),
        };
        let mut migrator = Migrator::with_migrations(embedded.iter().cloned().collect());
        migrator.dangerous_set_table_name(table);
        migrator.create_schema("rowcast");
        migrator
    }
}

impl Store {
    /// Brings the database up to this version. Idempotent; safe to run from several instances at once (advisory lock).
    pub async fn migrate(&self, set: MigrationSet) -> Result<Applied, StoreError> {
        let pending = self.pending(set).await?;
        if !pending.is_empty() {
            set.migrator().run(&self.pool).await?;
        }
        Ok(Applied { now: pending, total: set.migrator().iter().count() })
    }

    /// The migrations of the set that this database lacks.
    pub async fn pending(&self, set: MigrationSet) -> Result<Vec<(i64, String)>, StoreError> {
        let applied = self.applied_versions(set).await?;
        let lacks = |version: &i64| !applied.contains(version);
        let migrator = set.migrator();
        Ok(migrator.iter().map(|m| (m.version, m.description.to_string())).filter(|(v, _)| lacks(v)).collect())
    }

    /// How many migrations the set has.
    pub fn migrations_total(&self, set: MigrationSet) -> usize {
        set.migrator().iter().count()
    }

    async fn applied_versions(&self, set: MigrationSet) -> Result<Vec<i64>, StoreError> {
        use sqlx::migrate::Migrate;
        let mut connection = self.pool.acquire().await?;
        let migrator = set.migrator();
        let there = sqlx::query_file_scalar!("sql/store/table_exists.sql", &*migrator.table_name)
            .fetch_one(&mut *connection)
            .await?;
        if !there {
            return Ok(Vec::new());
        }
        let applied = connection.list_applied_migrations(&migrator.table_name).await?;
        Ok(applied.into_iter().map(|m| m.version).collect())
    }
}
