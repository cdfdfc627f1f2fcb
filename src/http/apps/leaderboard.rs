//! Who has how many points, and what for.

use poem_openapi::param::{Header, Query};
use poem_openapi::{Object, OpenApi};

use super::paging::{Wanted, limit_default};
use super::read::Answer;
use super::{Desk, Tag, Visitor};
use crate::http::problem::ApiError;

pub(in crate::http) struct LeaderboardApi(pub(super) Desk);

#[derive(Object)]
#[allow(dead_code, reason = "describes what is written as text")]
struct LeaderboardEntry {
    /// The same for the same points
    rank: i32,
    user_id: i64,
    name: String,
    points: i32,
}

#[derive(Object)]
#[allow(dead_code, reason = "describes what is written as text")]
struct Achievement {
    id: i64,
    user_id: i64,
    title: String,
    description: String,
    points: i32,
    badge_url: Option<String>,
    /// RFC 3339, UTC
    created_at: String,
}

#[derive(Object)]
#[allow(dead_code, reason = "describes what is written as text")]
struct Achievements {
    achievements: Vec<Achievement>,
    /// Ask with `after` set to this for those that follow; absent at the end
    next: Option<String>,
    /// Channel `student:{id}` continues here
    cursor: String,
}

#[OpenApi(tag = "Tag::Learning")]
impl LeaderboardApi {
    /// The leaderboard
    ///
    /// A bare array, the first first. Channel `leaderboard` shows its first hundred, live.
    #[oai(path = "/leaderboard", method = "get")]
    async fn leaderboard(
        &self,
        visitor: Visitor,
        /// How many, 1 to 1000
        #[oai(default = "limit_default", validator(minimum(value = "1"), maximum(value = "1000")))]
        limit: Query<u64>,
        #[oai(name = "If-None-Match")] if_none_match: Header<Option<String>>,
    ) -> Result<Answer<Vec<LeaderboardEntry>>, ApiError> {
        let mut reading = self.0.read(&visitor.0, if_none_match.0).await?;
        reading.asker.known()?;
        let (snapshot, text) = reading.asker.behalf.leaderboard(limit.0 as i32).await?;
        reading.whole(snapshot, text).await
    }

    /// List achievements
    ///
    /// Your own; staff see everybody's.
    #[oai(path = "/achievements", method = "get")]
    async fn achievements(
        &self,
        visitor: Visitor,
        user_id: Query<Option<i64>>,
        /// `id` or `points`; `-` in front: the greatest first. `-id` if left out
        sort: Query<Option<String>>,
        #[oai(default = "limit_default", validator(minimum(value = "1"), maximum(value = "1000")))] limit: Query<u64>,
        /// The `next` of the page before
        after: Query<Option<String>>,
        #[oai(name = "If-None-Match")] if_none_match: Header<Option<String>>,
    ) -> Result<Answer<Achievements>, ApiError> {
        let mut reading = self.0.read(&visitor.0, if_none_match.0).await?;
        reading.asker.known()?;
        let wanted = Wanted::new(&["id", "points"], sort.0, limit.0, after.0)?;
        let who = reading.asker.reader();
        let found = reading.asker.behalf.achievements(who, user_id.0, &wanted.page).await;
        reading.list("achievements", &wanted, found).await
    }
}
