//! combdb.v1
