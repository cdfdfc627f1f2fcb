//! Schema `rowcast` as its users meet it: what each statement leaves in the log, and what is refused with which sentence.

mod batches;
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

use bytes::Bytes;
use rowcast::domain::{LogRow, Op, Share, unpack};
use sqlx::postgres::PgDatabaseError;
use sqlx::{AssertSqlSafe, PgConnection};

use crate::kit::TestDb;

/// What tables wrote into the log since the last call, one line per event: `u {new} < {old} {matched}`.
async fn captured(db: &TestDb<'_>) -> Vec<String> {
    let rows = db.texts(
        "with gone as (delete from rowcast.event where source > 0 returning *)
         select json_build_array(id, op, new::text, old::text, matched)::text from gone order by id",
    );
    rows.await.into_iter().flat_map(|row| lines(&row.expect("no null"))).collect()
}

/// The events that a row of the log holds, as the router gets them.
fn lines(row: &str) -> Vec<String> {
    type Stored = (i64, char, Option<String>, Option<String>, Option<Vec<i32>>);
    let (id, letter, new, old, matched): Stored = serde_json::from_str(row).expect(row);
    let row = LogRow {
        id,
        xid: 0,
        at_us: 0,
        source: 1,
        op: Op::from_letter(letter as u8).expect(row),
        new: new.map(Into::into),
        old: old.map(Into::into),
        matched: matched.unwrap_or_default().into(),
        channel: None,
        event: None,
        share: Share::WHOLE,
    };
    let mut events = Vec::new();
    unpack(letter as u8, row, &mut events).expect("a batch that can be read");
    let text = |lead: &str, image: Option<Bytes>| {
        image.map_or(String::new(), |image| format!("{lead}{}", String::from_utf8(image.into()).expect("UTF-8")))
    };
    let line = |event: LogRow| {
        let matched: Vec<String> = event.matched.iter().map(i32::to_string).collect();
        let matched = if matched.is_empty() { String::new() } else { format!(" {{{}}}", matched.join(",")) };
        let letter = &event.op.name()[..1];
        format!("{letter}{}{}{matched}", text(" ", event.new), text(" < ", event.old))
    };
    events.into_iter().map(line).collect()
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
