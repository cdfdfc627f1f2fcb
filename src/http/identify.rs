//! Who sent a request.

use std::sync::Arc;

use poem::{FromRequest, Request, RequestBody};

use crate::domain::Identity;

use super::problem::ApiError;

/// Of the request's credentials; anonymous where it has none.
pub(super) async fn identify(request: &Request) -> Result<Arc<Identity>, ApiError> {
    Ok(request.data::<Arc<Identity>>().cloned().unwrap_or_else(Identity::anonymous))
}

/// The same for handlers of the REST interface.
pub(super) struct Visitor(pub Arc<Identity>);

impl<'a> FromRequest<'a> for Visitor {
    async fn from_request(request: &'a Request, _: &mut RequestBody) -> poem::Result<Self> {
        Ok(Self(identify(request).await?))
    }
}
