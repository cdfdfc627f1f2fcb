//! Schema `rowcast` as its users meet it: what each statement leaves in the log, and what is refused with which sentence.

mod bell;
mod bulk;
mod channels;
mod conditions;
mod ddl;
mod errors;
mod gap;
mod retention;
mod rights;
mod rows;
mod send;
mod trees;
mod watch;

use sqlx::postgres::PgDatabaseError;
use sqlx::{AssertSqlSafe, PgConnection};

use crate::kit::TestDb;

/// What tables wrote into the log since the last call, one line per event: `u {new} < {old} {matched}`.
async fn captured(db: &TestDb<'_>) -> Vec<String> {
    let rows = db.texts(
        "with gone as (delete from rowcast.event where source > 0 returning *)
         select op::text || coalesce(' ' || new::text, '') || coalesce(' < ' || old::text, '') || coalesce(' ' || matched::text, '')
           from gone order by id",
    );
    rows.await.into_iter().map(|line| line.expect("no null in it")).collect()
}

/// A session of its own: what it has prepared and cached is the test's subject.
async fn run(session: &mut PgConnection, sql: &str) {
    sqlx::raw_sql(AssertSqlSafe(sql)).execute(session).await.unwrap_or_else(|e| panic!("{e}\nin: {sql}"));
}

struct Refusal {
    code: String,
    message: String,
    hint: String,
}

async fn refused(db: &TestDb<'_>, sql: &str) -> Refusal {
    let Err(e) = db.try_exec(sql).await else { panic!("not refused: {sql}") };
    refusal(&e)
}

fn refusal(e: &sqlx::Error) -> Refusal {
    let e = e.as_database_error().unwrap_or_else(|| panic!("{e}")).downcast_ref::<PgDatabaseError>();
    Refusal { code: e.code().into(), message: e.message().into(), hint: e.hint().unwrap_or_default().into() }
}
