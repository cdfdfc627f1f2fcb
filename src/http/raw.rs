//! Payloads that are text on our side and a described type on the outside.

use std::marker::PhantomData;

use bytes::Bytes;
use poem::{IntoResponse, Request, RequestBody, Response};
use poem_openapi::ApiResponse;
use poem_openapi::impl_apirequest_for_payload;
use poem_openapi::payload::{Json, ParsePayload, Payload};
use poem_openapi::registry::{MetaResponses, MetaSchemaRef, Registry};
use poem_openapi::types::{ParseFromJSON, ToJSON, Type};

use super::problem::ApiError;

/// JSON text that is a `T`.
pub(super) struct Raw<T> {
    pub text: Bytes,
    shape: PhantomData<fn() -> T>,
}

impl<T> Raw<T> {
    pub fn new(text: impl Into<Bytes>) -> Self {
        Self { text: text.into(), shape: PhantomData }
    }
}

impl<T: Type> Payload for Raw<T> {
    const CONTENT_TYPE: &'static str = "application/json";

    fn check_content_type(content_type: &str) -> bool {
        <Json<T> as Payload>::check_content_type(content_type)
    }

    fn schema_ref() -> MetaSchemaRef {
        T::schema_ref()
    }

    fn register(registry: &mut Registry) {
        T::register(registry);
    }
}

impl<T> IntoResponse for Raw<T> {
    fn into_response(self) -> Response {
        Response::builder().content_type("application/json").body(self.text)
    }
}

impl<T: Type + ToJSON> ApiResponse for Raw<T> {
    fn meta() -> MetaResponses {
        <Json<T> as ApiResponse>::meta()
    }

    fn register(registry: &mut Registry) {
        T::register(registry);
    }
}

/// How long a body may be; travels with the request.
#[derive(Clone, Copy)]
pub(super) struct BodyLimit(pub usize);

impl<T: Type + ParseFromJSON> ParsePayload for Raw<T> {
    const IS_REQUIRED: bool = true;

    /// Only the bytes, within their bound: the handler reads them.
    async fn from_request(request: &Request, body: &mut RequestBody) -> poem::Result<Self> {
        let limit = request.data::<BodyLimit>().map_or(0, |l| l.0);
        let read = async { body.take()?.into_bytes_limit(limit).await };
        Ok(Self::new(read.await.map_err(ApiError::from)?))
    }
}

impl_apirequest_for_payload!(Raw<T>, T: Type + ParseFromJSON);
