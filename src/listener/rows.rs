//! The binary forms of the columns that a drain returns. Layouts: PostgreSQL sources, `xid8send` (xid.c),
//! `pg_snapshot_send` (xid8funcs.c), `timestamptz_send` (timestamp.c); json is its text.

use std::error::Error;

use bytes::{BufMut, Bytes, BytesMut};
use tokio_postgres::Row;
use tokio_postgres::types::{FromSql, IsNull, ToSql, Type, to_sql_checked};

use super::ListenerError;
use crate::domain::{LogRow, Op, Share, Snapshot, Xid, unpack};

type Caught = Box<dyn Error + Sync + Send>;

/// What leads every drain: where the stream stands, and what tells that it was lost or began anew.
#[derive(Debug, PartialEq)]
pub(super) struct Header {
    pub snapshot: Snapshot,
    pub horizon: Xid,
    pub token: Option<Token>,
    pub slots: Slots,
}

/// The files of the log's partitions. TRUNCATE gives a partition a new one, so as long as these stay, no row was lost.
pub(super) type Slots = Vec<u32>;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Token([u8; 16]);

impl Header {
    /// From the columns `snapshot, horizon, token, slots`, the first of which is number `at`.
    pub fn read(row: &Row, at: usize) -> Result<Self, ListenerError> {
        Ok(Self {
            snapshot: row.try_get::<_, PgSnapshot>(at)?.0,
            horizon: row.try_get::<_, Xid8>(at + 1)?.0,
            token: row.try_get(at + 2)?,
            slots: row.try_get::<_, Option<Vec<u32>>>(at + 3)?.unwrap_or_default(),
        })
    }
}

/// Columns of `drain.sql`; the header's start after these.
pub(super) const HEADER_AT: usize = 10;

/// Gives `out` what a row of the log holds. False: it is the header.
pub(super) fn log_rows(row: &Row, out: &mut Vec<LogRow>) -> Result<bool, ListenerError> {
    let Some(id) = row.try_get::<_, Option<i64>>(0)? else { return Ok(false) };
    let letter = row.try_get::<_, i8>(4)? as u8;
    let op = Op::from_letter(letter).ok_or(ListenerError::Op { id, letter: letter.into() })?;
    let row = LogRow {
        id,
        xid: row.try_get::<_, Xid8>(1)?.0,
        at_us: row.try_get::<_, Micros>(2)?.0,
        source: row.try_get(3)?,
        op,
        new: row.try_get::<_, Option<Json>>(5)?.map(|json| json.0),
        old: row.try_get::<_, Option<Json>>(6)?.map(|json| json.0),
        matched: row.try_get::<_, Option<Vec<i32>>>(7)?.unwrap_or_default().into(),
        channel: row.try_get(8)?,
        event: row.try_get(9)?,
        share: Share::WHOLE,
    };
    unpack(letter, row, out).map_err(|cause| ListenerError::Batch { id, cause })?;
    Ok(true)
}

pub(super) fn json_bytes(row: &LogRow) -> usize {
    row.new.as_ref().map_or(0, Bytes::len) + row.old.as_ref().map_or(0, Bytes::len)
}

struct Xid8(Xid);

impl<'a> FromSql<'a> for Xid8 {
    fn from_sql(_: &Type, raw: &'a [u8]) -> Result<Self, Caught> {
        Ok(Self(u64::from_be_bytes(raw.try_into()?)))
    }

    fn accepts(ty: &Type) -> bool {
        *ty == Type::XID8
    }
}

/// Microseconds since 1970; Postgres counts from 2000.
struct Micros(i64);

impl<'a> FromSql<'a> for Micros {
    fn from_sql(_: &Type, raw: &'a [u8]) -> Result<Self, Caught> {
        const FROM_1970_TO_2000_US: i64 = 946_684_800_000_000;
        Ok(Self(i64::from_be_bytes(raw.try_into()?).saturating_add(FROM_1970_TO_2000_US)))
    }

    fn accepts(ty: &Type) -> bool {
        *ty == Type::TIMESTAMPTZ
    }
}

struct Json(Bytes);

impl<'a> FromSql<'a> for Json {
    fn from_sql(_: &Type, raw: &'a [u8]) -> Result<Self, Caught> {
        Ok(Self(Bytes::copy_from_slice(raw)))
    }

    fn accepts(ty: &Type) -> bool {
        *ty == Type::JSON
    }
}

impl<'a> FromSql<'a> for Token {
    fn from_sql(_: &Type, raw: &'a [u8]) -> Result<Self, Caught> {
        Ok(Self(raw.try_into()?))
    }

    fn accepts(ty: &Type) -> bool {
        *ty == Type::UUID
    }
}

/// A snapshot as parameter and result: count of xip (4 bytes), xmin, xmax, each xip (8 bytes), big endian.
#[derive(Debug)]
pub(super) struct PgSnapshot(pub Snapshot);

impl<'a> FromSql<'a> for PgSnapshot {
    fn from_sql(_: &Type, raw: &'a [u8]) -> Result<Self, Caught> {
        let (count, rest) = raw.split_first_chunk::<4>().ok_or("a snapshot cut short")?;
        let mut numbers = rest.as_chunks::<8>().0.iter().map(|chunk| u64::from_be_bytes(*chunk));
        let (Some(xmin), Some(xmax)) = (numbers.next(), numbers.next()) else {
            return Err("a snapshot cut short".into());
        };
        let xip: Vec<Xid> = numbers.collect();
        if xip.len() != i32::from_be_bytes(*count) as usize {
            return Err("a snapshot of another length than it says".into());
        }
        Ok(Self(Snapshot::new(xmin, xmax, xip)?))
    }

    fn accepts(ty: &Type) -> bool {
        *ty == Type::PG_SNAPSHOT
    }
}

/// The same, borrowed, on its way to the server.
#[derive(Debug)]
pub(super) struct AsParameter<'a>(pub &'a Snapshot);

impl ToSql for AsParameter<'_> {
    fn to_sql(&self, _: &Type, out: &mut BytesMut) -> Result<IsNull, Caught> {
        out.put_i32(i32::try_from(self.0.xip().len())?);
        out.put_u64(self.0.xmin());
        out.put_u64(self.0.xmax());
        self.0.xip().iter().for_each(|&xid| out.put_u64(xid));
        Ok(IsNull::No)
    }

    fn accepts(ty: &Type) -> bool {
        *ty == Type::PG_SNAPSHOT
    }

    to_sql_checked!();
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn snapshots_round_trip_and_damage_is_refused() {
        for text in ["10:10:", "10:20:10,14,19"] {
            let snapshot: Snapshot = text.parse().expect(text);
            let mut raw = BytesMut::new();
            AsParameter(&snapshot).to_sql(&Type::PG_SNAPSHOT, &mut raw).expect("fits");
            assert_eq!(PgSnapshot::from_sql(&Type::PG_SNAPSHOT, &raw).expect(text).0, snapshot);
            for end in 0..raw.len() {
                assert!(PgSnapshot::from_sql(&Type::PG_SNAPSHOT, &raw[..end]).is_err(), "{text} cut at {end}");
            }
        }
    }
}
