use std::sync::atomic::{AtomicU32, Ordering};

use rowcast::domain::DatabaseUrl;
use rowcast::embedded::Embedded;
use rowcast::store::{Applied, MigrationSet, Store, StoreError};
use sqlx::postgres::{PgPool, PgPoolOptions};
use sqlx::{AssertSqlSafe, Connection, PgConnection};
use tokio::sync::OnceCell;

use super::{OwnCluster, Proxy, cluster};

/// Owns the tests' databases: an ordinary role, for rowcast needs no superuser.
pub const APP_ROLE: &str = "app";
const TEMPLATE: &str = "rowcast_template";
const REFERENCE_TEMPLATE: &str = "rowcast_reference_template";
/// The accounts of the demo: alice and bob (students of mia), max (booster), carl (customer), ada (staff).
const REFERENCE_USERS: &str = "
    insert into auth_user (username, first_name, last_name, is_staff)
      values ('alice', 'Alice', 'Ahlgren', false), ('bob', '', '', false), ('mia', 'Mia', 'Moreau', false),
             ('max', '', '', false), ('carl', '', '', false), ('ada', '', '', true);
    insert into user_profile values (1, 'STUDENT', 3), (2, 'STUDENT', null), (3, 'MENTOR', null)";

/// A database of the test's own.
pub struct TestDb<'c> {
    pub name: String,
    cluster: &'c Embedded,
    pool: OnceCell<PgPool>,
}

impl TestDb<'static> {
    /// With rowcast installed.
    pub async fn new() -> Self {
        static READY: OnceCell<()> = OnceCell::const_new();
        READY.get_or_init(|| async { TestDb::make(cluster(), TEMPLATE, None).await.migrate().await }).await;
        Self::make(cluster(), &fresh_name(), Some(TEMPLATE)).await
    }

    /// With the reference schema, too, the users `REFERENCE_USERS` names, and without its rules: anybody may look.
    pub async fn reference() -> Self {
        static READY: OnceCell<()> = OnceCell::const_new();
        let fill = || async {
            let db = TestDb::make(cluster(), REFERENCE_TEMPLATE, None).await;
            db.migrate().await;
            db.migrate_reference().await.unwrap_or_else(|e| panic!("migrations: {e}"));
            exec(&db.url(), REFERENCE_USERS).await;
            exec(&db.url(), "select rowcast.undefine_access(pattern) from rowcast.access").await;
        };
        READY.get_or_init(fill).await;
        Self::make(cluster(), &fresh_name(), Some(REFERENCE_TEMPLATE)).await
    }

    /// Empty.
    pub async fn bare() -> Self {
        Self::make(cluster(), &fresh_name(), None).await
    }
}

impl<'c> TestDb<'c> {
    /// With rowcast installed, in a cluster that may be restarted.
    pub async fn on(cluster: &'c OwnCluster) -> Self {
        let db = Self::make(cluster, &fresh_name(), None).await;
        db.migrate().await;
        db
    }

    /// A database that is there already, such as a standby's.
    pub fn at(cluster: &'c OwnCluster, name: &str) -> Self {
        Self { name: name.to_owned(), cluster, pool: OnceCell::new() }
    }

    async fn make(cluster: &'c Embedded, name: &str, template: Option<&str>) -> Self {
        let from = template.map(|t| format!("template {t}")).unwrap_or_default();
        exec(&cluster.url("postgres"), &format!("create database {name} owner {APP_ROLE} {from}")).await;
        Self { name: name.to_owned(), cluster, pool: OnceCell::new() }
    }

    /// As the ordinary role that owns the database.
    pub fn url(&self) -> String {
        self.url_as(APP_ROLE)
    }

    pub fn admin_url(&self) -> String {
        self.cluster.url(&self.name)
    }

    pub fn url_as(&self, role: &str) -> String {
        self.cluster.url_as(role, &self.name)
    }

    /// As the owner, by way of a proxy in front of this database's cluster (`db.proxy()`).
    pub fn url_through(&self, proxy: &Proxy) -> String {
        format!("postgres://{APP_ROLE}@{}/{}?sslmode=disable", proxy.addr(), self.name)
    }

    pub async fn proxy(&self) -> Proxy {
        Proxy::to_unix(self.cluster.socket_dir().join(".s.PGSQL.5432")).await
    }

    /// At most five connections, as the owner.
    pub async fn pool(&self) -> &PgPool {
        let connect = || async {
            let pool = PgPoolOptions::new().max_connections(5).connect(&self.url()).await;
            pool.expect("the test's database is there")
        };
        self.pool.get_or_init(connect).await
    }

    /// One connection of its own, as the owner.
    pub async fn connect(&self) -> PgConnection {
        PgConnection::connect(&self.url()).await.expect("the test's database is there")
    }

    /// One or more statements, as the owner; several in one call are one transaction.
    pub async fn exec(&self, sql: &str) {
        let done = sqlx::raw_sql(AssertSqlSafe(sql)).execute(self.pool().await).await;
        done.unwrap_or_else(|e| panic!("{e}\nin: {sql}"));
    }

    /// The same, and what Postgres said where it refuses.
    pub async fn try_exec(&self, sql: &str) -> Result<(), sqlx::Error> {
        sqlx::raw_sql(AssertSqlSafe(sql)).execute(self.pool().await).await.map(drop)
    }

    pub async fn admin_exec(&self, sql: &str) {
        exec(&self.admin_url(), sql).await;
    }

    /// The first column of all rows, as text (cast it in the query); null is `None`.
    pub async fn texts(&self, sql: &str) -> Vec<Option<String>> {
        let rows = sqlx::query_scalar(AssertSqlSafe(sql)).fetch_all(self.pool().await).await;
        rows.unwrap_or_else(|e| panic!("{e}\nin: {sql}"))
    }

    /// The only row's only column, as text.
    pub async fn text(&self, sql: &str) -> String {
        let mut rows = self.texts(sql).await;
        assert_eq!(rows.len(), 1, "rows of: {sql}");
        rows.remove(0).unwrap_or_else(|| panic!("null from: {sql}"))
    }

    pub async fn migrate(&self) {
        self.with_store(async |store| store.migrate(MigrationSet::Core).await)
            .await
            .unwrap_or_else(|e| panic!("migrations: {e}"));
    }

    pub async fn migrate_reference(&self) -> Result<Applied, StoreError> {
        self.with_store(async |store| store.migrate(MigrationSet::Reference).await).await
    }

    pub async fn with_store<T>(&self, work: impl AsyncFnOnce(&Store) -> T) -> T {
        let url = DatabaseUrl::parse(&self.url(), APP_ROLE).expect("our own URL");
        let store = Store::new(&url, Default::default());
        let answer = work(&store).await;
        store.close().await; // a template must have no sessions
        answer
    }
}

/// The role that owns the databases. Called where no runtime may be (from a test's own or not at all).
pub fn make_role(cluster: &Embedded) {
    let url = cluster.url("postgres");
    let made = std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a small runtime");
        runtime.block_on(exec(&url, &format!("create role {APP_ROLE} login")));
    });
    made.join().expect("a new cluster takes a role");
}

async fn exec(url: &str, sql: &str) {
    let mut connection = PgConnection::connect(url).await.unwrap_or_else(|e| panic!("{e}\nat: {url}"));
    sqlx::raw_sql(AssertSqlSafe(sql)).execute(&mut connection).await.unwrap_or_else(|e| panic!("{e}\nin: {sql}"));
    connection.close().await.expect("a session ends");
}

fn fresh_name() -> String {
    static COUNT: AtomicU32 = AtomicU32::new(0);
    format!("t{}", COUNT.fetch_add(1, Ordering::Relaxed))
}
