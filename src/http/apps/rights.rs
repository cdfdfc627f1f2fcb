//! Who may what: the rules of the WebSocket endpoints, for rows.

use std::sync::Arc;

use crate::domain::Identity;
use crate::http::identify::authenticated;
use crate::http::problem::{ApiError, ProblemCode};
use crate::store::Behalf;
use crate::store::reference::{Person, Reader};

/// Roles that see everybody's submissions, as the dashboard does.
const OVERSEERS: [&str; 3] = ["MENTOR", "ADMIN", "FLOOR_WING"];
const GRADERS: [&str; 2] = ["MENTOR", "ADMIN"];
const STUDENT: &str = "STUDENT";

/// Somebody who asks, and the transaction in his name.
pub(super) struct Asker {
    pub behalf: Behalf,
    identity: Arc<Identity>,
    user: Option<i64>,
    staff: bool,
    roles: Vec<String>,
}

impl Asker {
    pub fn new(behalf: Behalf, identity: &Arc<Identity>, person: Option<Person>) -> Self {
        let mut roles: Vec<String> = identity.roles.iter().map(|r| r.to_string()).collect();
        let mut staff = identity.staff;
        let user = person.as_ref().map(|p| p.id);
        if let Some(person) = person {
            staff |= person.staff;
            roles.extend(person.role);
        }
        Self { behalf, identity: identity.clone(), user, staff, roles }
    }

    /// 401 without credentials; 403 where they name nobody who has rows here, and who is not staff.
    pub fn known(&self) -> Result<(), ApiError> {
        authenticated(&self.identity)?;
        if self.user.is_none() && !self.staff {
            return Err(forbidden("These credentials are of no active user here."));
        }
        Ok(())
    }

    /// The user, whose own something is to be.
    pub fn user(&self) -> Result<i64, ApiError> {
        self.known()?;
        self.user.ok_or_else(|| forbidden("This is a user's own: these credentials name none."))
    }

    pub fn staff(&self) -> Result<(), ApiError> {
        self.known()?;
        if self.staff { Ok(()) } else { Err(forbidden("Only staff may do this.")) }
    }

    /// Sees its own rows; staff, everybody's.
    pub fn reader(&self) -> Reader {
        Reader { user: self.user, everything: self.staff }
    }

    /// The same of submissions, of which mentors see everybody's as well.
    pub fn overseer(&self) -> Reader {
        Reader { user: self.user, everything: self.staff || self.has(&OVERSEERS) }
    }

    pub fn may_grade(&self) -> Result<i64, ApiError> {
        self.known()?;
        if !self.staff && !self.has(&GRADERS) {
            return Err(forbidden("Only mentors, admins and staff grade."));
        }
        self.user()
    }

    /// Students, and users who have no role.
    pub fn may_submit(&self) -> Result<i64, ApiError> {
        let user = self.user()?;
        if self.roles.is_empty() || self.has(&[STUDENT]) {
            return Ok(user);
        }
        Err(forbidden("Only students hand in submissions."))
    }

    pub fn is_staff(&self) -> bool {
        self.staff
    }

    /// 401 for who could sign in and be allowed, 403 for the others.
    pub fn refusal(&self, what: &str) -> ApiError {
        self.known().err().unwrap_or_else(|| forbidden(what))
    }

    fn has(&self, roles: &[&str]) -> bool {
        self.roles.iter().any(|r| roles.contains(&r.as_str()))
    }
}

fn forbidden(detail: &str) -> ApiError {
    ApiError::new(ProblemCode::Forbidden, detail)
}
