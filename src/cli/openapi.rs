use clap::Args;

use super::Failure;
use super::out::Out;

/// Print the REST interface as OpenAPI (YAML)
#[derive(Debug, Args)]
pub struct Openapi {}

impl Openapi {
    pub fn run(self, out: &mut Out) -> Result<(), Failure> {
        out.line(crate::app::openapi_yaml().trim_end())
    }
}
