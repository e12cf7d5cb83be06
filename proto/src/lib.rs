//! CombDB's gRPC interface: the messages, clients and servers of the package `combdb.v1`, generated from
//! `combdb/v1/*.proto`, whose comments are the reference.
//!
//! ```
//! use proto::v1::{Document, FindRequest, document::Form};
//!
//! let filter = Document { form: Some(Form::ExtendedJson(r#"{"year": {"$gte": 1999}}"#.to_owned())) };
//! let request = FindRequest { database: "films".into(), collection: "movies".into(), filter: Some(filter), ..FindRequest::default() };
//! assert_eq!(request.limit, 0);
//! ```

use std::fmt;

/// The package `combdb.v1`.
// Generated: its words come from the .proto files, its style from the generator.
#[allow(missing_docs, clippy::pedantic, unused_qualifications)]
pub mod v1 {
    tonic::include_proto!("combdb.v1");
}

impl fmt::Debug for v1::JoinDatabaseRequest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("JoinDatabaseRequest").field("name", &self.name).finish_non_exhaustive()
    }
}

impl fmt::Debug for v1::CreateTicketResponse {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CreateTicketResponse").finish_non_exhaustive()
    }
}

/// The encoded `FileDescriptorSet` of the package, for gRPC reflection.
pub const FILE_DESCRIPTOR_SET: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/combdb.v1.bin"));

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn debug_of_messages_with_a_ticket_does_not_show_it() {
        let request = v1::JoinDatabaseRequest { ticket: "secret".into(), name: "films".into() };
        let response = v1::CreateTicketResponse { ticket: "secret".into() };
        assert!(!format!("{request:?}{response:?}").contains("secret"));
        assert!(format!("{request:?}").contains("films"));
    }
}
