//! `/api/users`: what staff and servers do about users' connections.

use std::sync::Arc;

use poem::web::Data;
use poem_openapi::param::Path;
use poem_openapi::payload::Json;
use poem_openapi::{ApiResponse, Object, OpenApi};

use crate::domain::Caller;

use super::health::Database;
use super::identify::staff;
use super::problem::ApiError;
use super::rest::{Tag, not_ready};

pub(super) struct UsersApi(pub Option<Arc<dyn Database>>);

/// Why, where it is said
#[derive(Object)]
struct Disconnect {
    /// What the user is told: the reason of the close frame
    #[oai(default = "reason", validator(max_length = 100))]
    reason: String,
}

#[derive(Object)]
struct Disconnected {
    user: String,
}

#[derive(ApiResponse)]
enum DisconnectResponse {
    /// Committed; the connections end in a moment, on every instance
    #[oai(status = 202)]
    Accepted(Json<Disconnected>),
}

fn reason() -> String {
    "disconnected".into()
}

#[OpenApi(tag = "Tag::Users")]
impl UsersApi {
    /// End a user's connections
    ///
    /// The same as `select rowcast.disconnect(user, reason)`. For staff, and for API keys made with `admin`.
    #[oai(path = "/users/:user/disconnect", method = "post")]
    async fn disconnect(
        &self,
        caller: Data<&Caller>,
        user: Path<String>,
        body: Json<Disconnect>,
    ) -> Result<DisconnectResponse, ApiError> {
        let database = self.0.as_ref().ok_or_else(not_ready)?;
        staff(&caller.identity)?;
        database.disconnect(&user.0, &body.0.reason).await?;
        Ok(DisconnectResponse::Accepted(Json(Disconnected { user: user.0 })))
    }
}
