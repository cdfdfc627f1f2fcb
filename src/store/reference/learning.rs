use sqlx::{query_file, query_file_as, query_file_scalar};

use super::{Behalf, Found, Page, Reader, Row, StoreError, found};
use crate::domain::Snapshot;

#[derive(Clone, Debug, Default)]
pub struct SubmissionFilter {
    pub student: Option<i64>,
    pub status: Option<String>,
    pub graded: Option<bool>,
}

#[derive(Clone, Debug, Default)]
pub struct NotificationFilter {
    pub unread: Option<bool>,
    pub kind: Option<String>,
}

impl Behalf {
    pub async fn submissions(
        &mut self,
        who: Reader,
        filter: &SubmissionFilter,
        page: &Page,
    ) -> Result<Found, StoreError> {
        self.submissions_of(who, None, filter, page).await
    }

    pub async fn submission(&mut self, who: Reader, id: i64) -> Result<Found, StoreError> {
        self.submissions_of(who, Some(id), &SubmissionFilter::default(), &Page::one()).await
    }

    async fn submissions_of(
        &mut self,
        who: Reader,
        id: Option<i64>,
        filter: &SubmissionFilter,
        page: &Page,
    ) -> Result<Found, StoreError> {
        let query = query_file_as!(
            Row,
            "sql/reference/submissions.sql",
            who.user,
            who.everything,
            id,
            filter.student,
            filter.status,
            filter.graded,
            page.by,
            page.down,
            page.after.map(|p| p.key),
            page.after.map(|p| p.id),
            page.limit,
        );
        found(self.bounded(async |c| query.fetch_all(c).await).await?, page)
    }

    pub async fn create_submission(&mut self, student: i64, assignment_title: &str) -> Result<i64, StoreError> {
        let query = query_file!("sql/reference/submission_create.sql", student, assignment_title);
        Ok(self.bounded(async |c| query.fetch_one(c).await).await?.id)
    }

    /// What is None stays. `score` is decimal text. False: there is no such submission.
    pub async fn grade_submission(
        &mut self,
        id: i64,
        by: i64,
        score: Option<&str>,
        feedback: Option<&str>,
    ) -> Result<bool, StoreError> {
        let query = query_file!("sql/reference/submission_grade.sql", id, by, score, feedback);
        Ok(self.bounded(async |c| query.fetch_optional(c).await).await?.is_some())
    }

    /// The user's own.
    pub async fn notifications(
        &mut self,
        user: i64,
        filter: &NotificationFilter,
        page: &Page,
    ) -> Result<Found, StoreError> {
        self.notifications_of(user, None, filter, page).await
    }

    /// Nothing is found where it is another user's.
    pub async fn notification(&mut self, user: i64, id: i64) -> Result<Found, StoreError> {
        self.notifications_of(user, Some(id), &NotificationFilter::default(), &Page::one()).await
    }

    async fn notifications_of(
        &mut self,
        user: i64,
        id: Option<i64>,
        filter: &NotificationFilter,
        page: &Page,
    ) -> Result<Found, StoreError> {
        let query = query_file_as!(
            Row,
            "sql/reference/notifications.sql",
            user,
            id,
            filter.unread,
            filter.kind,
            page.down,
            page.after.map(|p| p.key),
            page.after.map(|p| p.id),
            page.limit,
        );
        found(self.bounded(async |c| query.fetch_all(c).await).await?, page)
    }

    /// One of the user's unread notifications, or all of them. How many there were.
    pub async fn read_notifications(&mut self, user: i64, id: Option<i64>) -> Result<i64, StoreError> {
        let query = query_file_scalar!("sql/reference/notifications_read.sql", user, id);
        self.bounded(async |c| query.fetch_one(c).await).await
    }

    /// A JSON array.
    pub async fn leaderboard(&mut self, limit: i32) -> Result<(Snapshot, String), StoreError> {
        let query = query_file!("sql/reference/leaderboard.sql", limit);
        let row = self.bounded(async |c| query.fetch_one(c).await).await?;
        let snapshot = row.snapshot.parse().map_err(|_| StoreError::Answer("not a snapshot".into()))?;
        Ok((snapshot, row.item))
    }

    pub async fn achievements(&mut self, who: Reader, of: Option<i64>, page: &Page) -> Result<Found, StoreError> {
        let query = query_file_as!(
            Row,
            "sql/reference/achievements.sql",
            who.user,
            who.everything,
            of,
            page.by,
            page.down,
            page.after.map(|p| p.key),
            page.after.map(|p| p.id),
            page.limit,
        );
        found(self.bounded(async |c| query.fetch_all(c).await).await?, page)
    }
}
