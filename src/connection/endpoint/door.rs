//! Who may come in, asked before the upgrade.
//!
//! ```text
//!  not known: 401 ─▶ no such name: 404 ─▶ may not: 403 ─▶ nothing there: 404    cannot be found out: 503
//! ```
//! Whether something exists is told only to those who may see it.

use std::collections::BTreeMap;

use crate::domain::{Identity, ReadError};
use crate::hub::close;
use crate::protocol::Values;
use crate::protocol::declared::Call;

use super::super::{Denied, Shared, Visit};
use super::config::{Auth, Kind, Reject};
use super::{Endpoint, values_of};

/// The rules of an endpoint. By default everybody may come in, and nobody is asked who they are.
#[derive(Clone, Debug)]
pub struct Door {
    pub auth: Auth,
    pub params: BTreeMap<String, Kind>,
    pub own: Option<String>,
    pub roles: Vec<String>,
    pub staff: bool,
    pub allow: Option<Call>,
    /// What the channels' names need of SQL.
    pub lookups: Vec<(String, Call)>,
    /// What the hello needs of SQL: looked up once the client is registered.
    pub late: Vec<(String, Call)>,
    pub must_exist: bool,
    pub reject: Reject,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Refusal {
    Unauthorized,
    Forbidden,
    NotFound,
    Failed(ReadError),
}

impl Default for Door {
    fn default() -> Self {
        Self {
            auth: Auth::None,
            params: BTreeMap::new(),
            own: None,
            roles: Vec::new(),
            staff: false,
            allow: None,
            lookups: Vec::new(),
            late: Vec::new(),
            must_exist: false,
            reject: Reject::Http,
        }
    }
}

impl Endpoint {
    /// May this client come in? Notes in the visit what was looked up; where refusals are close codes, that one, too.
    pub async fn admit(&self, shared: &Shared, visit: &mut Visit) -> Result<(), Refusal> {
        match self.ask(shared, visit).await {
            Err(refusal) if self.door.reject == Reject::Close => {
                visit.refused = Some(refusal.close());
                Ok(())
            }
            answer => answer,
        }
    }

    async fn ask(&self, shared: &Shared, visit: &mut Visit) -> Result<(), Refusal> {
        let door = &self.door;
        match door.auth {
            Auth::Required if visit.identity.is_anonymous() => return Err(Refusal::Unauthorized),
            Auth::None | Auth::Optional | Auth::Required => {}
        }
        let kind = |name: &str| door.params.get(name).copied().unwrap_or_default();
        if !visit.params.iter().all(|(name, value)| kind(name).takes(value)) {
            return Err(Refusal::NotFound);
        }
        let identity = visit.identity.clone();
        let values = values_of(visit);
        if !door.knows(&identity, &values) && !self.allowed(&identity, &values).await? {
            return Err(Refusal::Forbidden);
        }
        for (name, call) in &door.lookups {
            let found = self.functions.call(call, &values, &identity).await.map_err(Refusal::Failed)?;
            visit.found.put(name, found.map_or_else(|| "null".into(), |answer| answer.json));
        }
        let channels = self.channels_for(&values_of(visit)).ok_or(Refusal::NotFound)?;
        for (pattern, channel) in self.channels.iter().zip(&channels) {
            // A parameter such as `5:grades` does not lead to what is another family's.
            if !shared.admission.access.is_meant(pattern, channel) {
                return Err(Refusal::NotFound);
            }
            shared.admission.may_pass(&identity, channel).await?;
        }
        if door.must_exist && shared.read(&channels[0]).await.map_err(Refusal::Failed)?.data == "null" {
            return Err(Refusal::NotFound);
        }
        Ok(())
    }

    async fn allowed(&self, identity: &Identity, values: &Values) -> Result<bool, Refusal> {
        let Some(allow) = &self.door.allow else { return Ok(false) };
        let answer = self.functions.call(allow, values, identity).await.map_err(Refusal::Failed)?;
        Ok(answer.is_some_and(|answer| answer.json == "true"))
    }
}

impl Door {
    /// By what is known already, without asking the database.
    fn knows(&self, identity: &Identity, values: &Values) -> bool {
        let rules = self.own.is_some() || !self.roles.is_empty() || self.staff || self.allow.is_some();
        let own = |name: &String| identity.user.is_some() && values.text(name).as_deref() == identity.user.as_deref();
        !rules
            || (self.staff && identity.staff)
            || self.own.as_ref().is_some_and(own)
            || self.roles.iter().any(|role| identity.has_role(role))
    }
}

impl From<Denied> for Refusal {
    fn from(denied: Denied) -> Self {
        match denied {
            Denied::Unknown => Self::Failed(ReadError::Unavailable),
            Denied::Forbidden | Denied::Nameless | Denied::Unopened => Self::Forbidden,
        }
    }
}

impl Refusal {
    /// A sentence for the client.
    pub fn sentence(&self) -> &'static str {
        match self {
            Self::Unauthorized => "Authentication credentials were not provided.",
            Self::Forbidden => "This is not for you.",
            Self::NotFound => "There is no such thing.",
            Self::Failed(_) => "It cannot be read now: come again later.",
        }
    }

    fn close(&self) -> (u16, &'static str) {
        let code = match self {
            Self::Unauthorized => close::UNAUTHORIZED,
            Self::Forbidden => close::FORBIDDEN,
            Self::NotFound => close::NOT_FOUND,
            Self::Failed(_) => close::TRY_LATER,
        };
        (code, self.sentence())
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;

    #[test]
    fn who_is_known_without_asking() {
        let who = |user: Option<&str>, staff, roles: &[&str]| Identity {
            user: user.map(Arc::from),
            staff,
            roles: roles.iter().map(|r| Arc::from(*r)).collect(),
            ..Identity::default()
        };
        let mut values = Values::default();
        values.put_text("id", Some("7"));
        let own = || Door { own: Some("id".into()), staff: true, ..Door::default() };
        let roles = || Door { roles: vec!["MENTOR".into(), "ADMIN".into()], staff: true, ..Door::default() };
        let cases = [
            (Door::default(), who(None, false, &[]), true),
            (own(), who(Some("7"), false, &[]), true),
            (own(), who(Some("8"), false, &["ADMIN"]), false),
            (own(), who(Some("8"), true, &[]), true),
            (own(), who(None, false, &[]), false),
            (roles(), who(Some("8"), false, &["STUDENT", "ADMIN"]), true),
            (roles(), who(Some("8"), false, &["STUDENT"]), false),
            (roles(), who(Some("8"), true, &[]), true),
            (Door { own: Some("other".into()), ..Door::default() }, who(None, false, &[]), false),
        ];
        for (door, identity, known) in cases {
            assert_eq!(door.knows(&identity, &values), known, "{door:?} {identity:?}");
        }
    }
}
