//! The words of rowcast as types: channels and their templates, snapshots and cursors, log rows
//! and messages, and the ports through which one stage of the way speaks to the next.
//! Pure: no IO, no clock, no async runtime.

mod channel;
mod currency;
mod cursor;
mod database;
mod identity;
pub(crate) mod json;
mod log;
mod message;
mod packed;
mod pattern;
mod port;
mod snapshot;

pub use channel::{CHANNEL_BYTES_MAX, ChannelError, ChannelName};
pub use currency::{Currency, CurrencyError};
pub use cursor::{Cursor, CursorError, Incarnation, Position};
pub use database::{ChannelBinding, DatabaseHost, DatabaseUrl, DatabaseUrlError, HostPlace, SslMode, SslRootCert};
pub use identity::{Caller, Credential, Identity, Scope};
pub use log::{Feed, LogRow, Op, SOURCE_CONFIG, SOURCE_SEND, Share};
pub use message::{Batch, Message, Stamp, Target};
pub use packed::{UnpackError, unpack};
pub use pattern::{Pattern, PatternError};
pub use port::{Boxed, Dialect, Drains, FamilyInfo, Guard, Outlet, ReadError, Reading, ReplayError, Replayed, Source};
pub use snapshot::{Snapshot, SnapshotError, Xid};
