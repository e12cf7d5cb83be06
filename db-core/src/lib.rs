//! The database to embed.
