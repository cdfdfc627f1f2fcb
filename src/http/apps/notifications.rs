//! A user's notifications: nobody sees another's.

use poem_openapi::param::{Header, Path, Query};
use poem_openapi::payload::Json;
use poem_openapi::{Object, OpenApi};

use super::paging::{Wanted, limit_default};
use super::read::{Answer, missing};
use super::{Desk, Raw, Tag, Visitor};
use crate::http::problem::ApiError;
use crate::store::Access;
use crate::store::reference::NotificationFilter;

pub(in crate::http) struct NotificationsApi(pub(super) Desk);

#[derive(Object)]
#[allow(dead_code, reason = "describes what is written as text")]
struct Notification {
    id: i64,
    #[oai(rename = "type")]
    kind: String,
    priority: String,
    title: String,
    message: String,
    action_url: Option<String>,
    sender_id: Option<i64>,
    is_read: bool,
    read_at: Option<String>,
    /// RFC 3339, UTC
    created_at: String,
}

#[derive(Object)]
#[allow(dead_code, reason = "describes what is written as text")]
struct Notifications {
    notifications: Vec<Notification>,
    /// Ask with `after` set to this for those that follow; absent at the end
    next: Option<String>,
    /// Channel `notifications:{user_id}` continues here
    cursor: String,
}

#[derive(Object)]
struct Marked {
    /// How many were unread
    marked: i64,
}

#[OpenApi(tag = "Tag::Learning")]
impl NotificationsApi {
    /// List notifications
    #[oai(path = "/notifications", method = "get")]
    #[allow(clippy::too_many_arguments, reason = "each is a parameter of the request")]
    async fn list(
        &self,
        visitor: Visitor,
        /// true: only unread ones; false: only read ones
        unread: Query<Option<bool>>,
        #[oai(name = "type")] kind: Query<Option<String>>,
        /// `id`: the oldest first; `-id` if left out
        sort: Query<Option<String>>,
        /// How many, 1 to 1000
        #[oai(default = "limit_default", validator(minimum(value = "1"), maximum(value = "1000")))]
        limit: Query<u64>,
        /// The `next` of the page before
        after: Query<Option<String>>,
        #[oai(name = "If-None-Match")] if_none_match: Header<Option<String>>,
    ) -> Result<Answer<Notifications>, ApiError> {
        let mut reading = self.0.read(&visitor.0, if_none_match.0).await?;
        let user = reading.asker.user()?;
        let wanted = Wanted::new(&["id"], sort.0, limit.0, after.0)?;
        let filter = NotificationFilter { unread: unread.0, kind: kind.0 };
        let found = reading.asker.behalf.notifications(user, &filter, &wanted.page).await;
        reading.list("notifications", &wanted, found).await
    }

    /// Mark one as read
    ///
    /// Again changes nothing.
    #[oai(path = "/notifications/:id/read", method = "post")]
    async fn read(&self, visitor: Visitor, id: Path<i64>) -> Result<Raw<Notification>, ApiError> {
        let mut asker = self.0.ask(&visitor.0, Access::Write).await?;
        let user = asker.user()?;
        asker.behalf.read_notifications(user, Some(id.0)).await?;
        let notification = asker.behalf.notification(user, id.0).await?;
        if notification.items.is_empty() {
            return Err(missing("notification"));
        }
        asker.done(Ok(notification)).await
    }

    /// Mark all as read
    #[oai(path = "/notifications/read", method = "post")]
    async fn read_all(&self, visitor: Visitor) -> Result<Json<Marked>, ApiError> {
        let mut asker = self.0.ask(&visitor.0, Access::Write).await?;
        let user = asker.user()?;
        let marked = asker.behalf.read_notifications(user, None).await?;
        asker.behalf.commit().await?;
        Ok(Json(Marked { marked }))
    }
}
