//! From what was found out about somebody to an `Identity`, and to the claims that SQL sees.

use std::sync::Arc;

use serde_json::{Map, Value, json};

use super::config::Config;
use super::jwt::Claims;
use crate::domain::Identity;
use crate::store::UserRow;

/// What tokens and rows say of people.
#[derive(Debug, Default)]
pub struct Person {
    pub user: String,
    pub name: String,
    pub staff: bool,
    pub roles: Vec<Arc<str>>,
}

impl Person {
    pub fn of_token(config: &Config, claims: &Claims) -> Self {
        let is_true = |name: &String| claims.all.get(name) == Some(&Value::Bool(true));
        Self {
            user: claims.user.clone(),
            name: claims.all.get(&config.jwt_name_claim).and_then(Value::as_str).unwrap_or_default().to_owned(),
            staff: config.jwt_staff_claims.iter().any(is_true),
            roles: roles_in(config, &claims.all),
        }
    }

    pub fn of_row(row: &UserRow) -> Self {
        Self { user: row.id.clone(), name: row.username.clone(), staff: row.staff, roles: Vec::new() }
    }

    /// The row knows better than a token that was signed a while ago.
    pub fn check(&mut self, row: &UserRow) {
        self.name.clone_from(&row.username);
        self.staff = row.staff;
    }
}

pub fn of_claims(person: Person, claims: Claims, leeway_s: i64) -> Identity {
    let ends_s = claims.expires_at_s.saturating_add(leeway_s);
    Identity { expires_at_us: Some(ends_s.saturating_mul(1_000_000)), ..of(person, claims.all) }
}

pub fn of_user(person: Person) -> Identity {
    of(person, Map::new())
}

fn of(Person { user, name, staff, mut roles }: Person, mut claims: Map<String, Value>) -> Identity {
    roles.sort_unstable();
    roles.dedup();
    // Whatever the token had there: rules go by what was verified.
    claims.insert("sub".into(), user.clone().into());
    let roles_text: Vec<&str> = roles.iter().map(|r| &**r).collect();
    claims.insert("rowcast".into(), json!({ "user": user, "name": name, "staff": staff, "roles": roles_text }));
    Identity {
        user: Some(user.into()),
        // All who have none share it.
        name: if name.is_empty() { Arc::default() } else { name.into() },
        staff,
        roles,
        claims: Value::Object(claims).to_string().into(),
        ..Identity::default()
    }
}

/// The same user by what its row and `roles_sql` say now; None: nothing has changed.
pub fn renewed(config: &Config, before: &Identity, row: Option<&UserRow>, roles: &[Arc<str>]) -> Option<Identity> {
    // We wrote them ourselves.
    let claims: Map<String, Value> = serde_json::from_str(&before.claims).ok()?;
    let mut person = Person {
        user: before.user.as_deref()?.to_owned(),
        name: before.name.to_string(),
        staff: before.staff,
        roles: roles_in(config, &claims),
    };
    if let Some(row) = row {
        person.check(row);
    }
    person.roles.extend_from_slice(roles);
    let now = Identity { expires_at_us: before.expires_at_us, ..of(person, claims) };
    let same = now.roles == before.roles && now.staff == before.staff && now.name == before.name;
    (!same).then_some(now)
}

fn roles_in(config: &Config, claims: &Map<String, Value>) -> Vec<Arc<str>> {
    config.jwt_roles_claims.iter().filter_map(|name| claims.get(name)).flat_map(texts).collect()
}

/// A role, or a list of them.
fn texts(value: &Value) -> Vec<Arc<str>> {
    let one = |v: &Value| v.as_str().filter(|s| !s.is_empty()).map(Arc::from);
    match value {
        Value::Array(many) => many.iter().filter_map(one).collect(),
        value => one(value).into_iter().collect(),
    }
}
