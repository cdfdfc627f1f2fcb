//! What students hand in, and what comes of it.

use poem_openapi::param::{Header, Path, Query};
use poem_openapi::types::Any;
use poem_openapi::{Object, OpenApi};
use serde_json::Value;

use super::fields::{Fields, Required as _, invalid};
use super::paging::{Wanted, limit_default};
use super::read::{Answer, Made, missing};
use super::{Desk, Raw, Tag, Visitor};
use crate::http::problem::ApiError;
use crate::store::Access;
use crate::store::reference::SubmissionFilter;

pub(in crate::http) struct SubmissionsApi(pub(super) Desk);

#[derive(Object)]
#[allow(dead_code, reason = "describes what is written as text")]
struct Submission {
    id: i64,
    student_id: i64,
    student_name: String,
    assignment_title: String,
    /// `submitted`, `review_requested` or `graded`
    status: String,
    /// A decimal number; null: not graded
    score: Any<Value>,
    feedback: Option<String>,
    graded_by_id: Option<i64>,
    graded_by: Option<String>,
    /// RFC 3339, UTC
    submitted_at: String,
    graded_at: Option<String>,
    updated_at: String,
}

#[derive(Object)]
#[allow(dead_code, reason = "describes what is written as text")]
struct Submissions {
    submissions: Vec<Submission>,
    /// Ask with `after` set to this for those that follow; absent at the end
    next: Option<String>,
    /// Channels `dashboard`, `mentor:{id}` and `student:{id}` continue here
    cursor: String,
}

#[derive(Object)]
#[allow(dead_code, reason = "describes what is read as text")]
struct SubmissionToMake {
    /// 1 to 255 characters
    assignment_title: String,
}

/// At least one of them; what is left out stays
#[derive(Object)]
#[allow(dead_code, reason = "describes what is read as text")]
struct Grade {
    /// A decimal, as a number or as text
    score: Any<Value>,
    /// 1 to 10000 characters
    feedback: Option<String>,
}

const TITLE_CHARS_MAX: usize = 255;
const FEEDBACK_CHARS_MAX: usize = 10_000;

#[OpenApi(tag = "Tag::Learning")]
impl SubmissionsApi {
    /// List submissions
    ///
    /// Your own; everybody's for mentors, admins, floor wings and staff.
    #[oai(path = "/submissions", method = "get")]
    #[allow(clippy::too_many_arguments, reason = "each is a parameter of the request")]
    async fn list(
        &self,
        visitor: Visitor,
        student_id: Query<Option<i64>>,
        status: Query<Option<String>>,
        graded: Query<Option<bool>>,
        /// `id`, `updated_at` or `score`; `-` in front: the greatest first. `-id` if left out
        sort: Query<Option<String>>,
        /// How many, 1 to 1000
        #[oai(default = "limit_default", validator(minimum(value = "1"), maximum(value = "1000")))]
        limit: Query<u64>,
        /// The `next` of the page before
        after: Query<Option<String>>,
        #[oai(name = "If-None-Match")] if_none_match: Header<Option<String>>,
    ) -> Result<Answer<Submissions>, ApiError> {
        let mut reading = self.0.read(&visitor.0, if_none_match.0).await?;
        reading.asker.known()?;
        let wanted = Wanted::new(&["id", "updated_at", "score"], sort.0, limit.0, after.0)?;
        let filter = SubmissionFilter { student: student_id.0, status: status.0, graded: graded.0 };
        let who = reading.asker.overseer();
        let found = reading.asker.behalf.submissions(who, &filter, &wanted.page).await;
        reading.list("submissions", &wanted, found).await
    }

    /// One submission
    #[oai(path = "/submissions/:id", method = "get")]
    async fn one(
        &self,
        visitor: Visitor,
        id: Path<i64>,
        #[oai(name = "If-None-Match")] if_none_match: Header<Option<String>>,
    ) -> Result<Answer<Submission>, ApiError> {
        let mut reading = self.0.read(&visitor.0, if_none_match.0).await?;
        reading.asker.known()?;
        let who = reading.asker.overseer();
        let found = reading.asker.behalf.submission(who, id.0).await;
        reading.one("submission", found).await
    }

    /// Hand in
    ///
    /// As a student, your own. Dashboard and mentor hear of it.
    #[oai(path = "/submissions", method = "post")]
    async fn create(&self, visitor: Visitor, body: Raw<SubmissionToMake>) -> Result<Made<Submission>, ApiError> {
        let mut asker = self.0.ask(&visitor.0, Access::Write).await?;
        let student = asker.may_submit()?;
        let fields = Fields::of(&body, &["assignment_title"])?;
        let title = fields.text("assignment_title", 1..=TITLE_CHARS_MAX)?.required("assignment_title")?;
        let id = asker.behalf.create_submission(student, &title).await?;
        let who = asker.reader();
        let submission = asker.behalf.submission(who, id).await;
        Ok(Made::Made(asker.done(submission).await?, format!("/api/submissions/{id}")))
    }

    /// Grade
    ///
    /// Mentors, admins and staff. Dashboard and student hear of a score; of feedback alone, the student.
    #[oai(path = "/submissions/:id/grade", method = "post")]
    async fn grade(&self, visitor: Visitor, id: Path<i64>, body: Raw<Grade>) -> Result<Raw<Submission>, ApiError> {
        let mut asker = self.0.ask(&visitor.0, Access::Write).await?;
        let grader = asker.may_grade()?;
        let fields = Fields::of(&body, &["score", "feedback"])?;
        let score = fields.score("score")?;
        let feedback = fields.text("feedback", 1..=FEEDBACK_CHARS_MAX)?;
        if score.is_none() && feedback.is_none() {
            return Err(invalid("score", "or 'feedback' is required"));
        }
        if !asker.behalf.grade_submission(id.0, grader, score.as_deref(), feedback.as_deref()).await? {
            return Err(missing("submission"));
        }
        let who = asker.overseer();
        let submission = asker.behalf.submission(who, id.0).await;
        asker.done(submission).await
    }
}
