//! What the commands about documents take besides what they ask for, and how they read documents off the command line.

use clap::Args;
use proto::v1::{self, Acknowledgement, QueryOptions, WriteConcern, hint};

use super::client::json;
use super::output::Output;
use crate::error::CliError;

/// What any query may say besides what it asks for.
#[derive(Debug, Default, Args)]
#[command(next_help_heading = "Query options")]
pub(crate) struct QueryArguments {
    /// The index to use, by its name or its keys; '{"$natural": 1}' for none
    #[arg(long, value_name = "INDEX")]
    hint: Option<String>,
    /// Values for variables, such as '{"least": 5}' for $$least in expressions
    #[arg(long = "let", value_name = "VARIABLES")]
    variables: Option<String>,
    /// How strings are compared, such as '{"locale": "de", "strength": 2}'
    #[arg(long, value_name = "COLLATION")]
    collation: Option<String>,
    /// A remark that the server's log repeats
    #[arg(long, value_name = "TEXT")]
    comment: Option<String>,
}

/// What any read may say besides what it asks for.
#[derive(Debug, Default, Args)]
#[command(next_help_heading = "Query options")]
pub(crate) struct ReadArguments {
    #[command(flatten)]
    query: QueryArguments,
    /// Give up after so long
    #[arg(long, value_name = "MILLISECONDS")]
    max_time: Option<u64>,
    /// See only what a majority of the indexers has confirmed, or everything that the peer holds
    #[arg(long, value_name = "CONCERN", value_enum, default_value_t = Concern::Local)]
    read_concern: Concern,
    /// Read the database as it was after the entry at this position of the order (see `combdb log show`)
    #[arg(long, value_name = "POSITION")]
    at: Option<u64>,
}

/// What a read sees of what is not confirmed.
#[derive(Debug, Clone, Copy, Default, clap::ValueEnum)]
enum Concern {
    #[default]
    Local,
    Majority,
}

/// When a write is done.
#[derive(Debug, Default, Args)]
#[command(next_help_heading = "Write options")]
pub(crate) struct WriteArguments {
    /// Wait until a majority of the indexers has confirmed the write
    #[arg(long)]
    majority: bool,
    /// Wait no longer than this; the write stands all the same. Left out, or 0: as long as it takes
    #[arg(long, value_name = "MILLISECONDS", requires = "majority")]
    timeout: Option<u64>,
}

impl WriteArguments {
    /// As a request says it.
    pub(crate) fn concern(&self) -> Option<WriteConcern> {
        self.majority.then(|| WriteConcern { majority: true, timeout_ms: self.timeout.unwrap_or_default() })
    }

    /// Says what has become of the write, if it was waited for.
    ///
    /// # Errors
    /// If stdout cannot be written.
    pub(crate) fn tell(
        &self,
        acknowledgement: Option<Acknowledgement>,
        output: &mut Output,
    ) -> Result<(), CliError> {
        let Some(Acknowledgement { entry, confirmed }) = acknowledgement.filter(|_| self.majority) else {
            return Ok(());
        };
        if confirmed {
            return output.line("confirmed");
        }
        output.line(format_args!("not confirmed yet: `combdb receipts {entry}` follows it"))
    }
}

impl QueryArguments {
    /// As a request says it.
    pub(crate) fn into_parts(self) -> (Option<v1::Hint>, Option<QueryOptions>) {
        let options = QueryOptions {
            variables: self.variables.map(json),
            collation: self.collation.map(json),
            comment: self.comment.unwrap_or_default(),
            ..QueryOptions::default()
        };
        (self.hint.map(hint_of), Some(options))
    }
}

impl QueryArguments {
    /// As the request of a write says it.
    pub(crate) fn into_write_parts(self, write: &WriteArguments) -> (Option<v1::Hint>, Option<QueryOptions>) {
        let (hint, options) = self.into_parts();
        let write_concern = write.concern();
        (hint, options.map(|options| QueryOptions { write_concern, ..options }))
    }
}

impl ReadArguments {
    /// As a request says it.
    pub(crate) fn into_parts(self) -> (Option<v1::Hint>, Option<QueryOptions>) {
        let (hint, options) = self.query.into_parts();
        let max_time_ms = self.max_time.unwrap_or(0);
        let read_concern = match self.read_concern {
            Concern::Local => v1::ReadConcern::Local.into(),
            Concern::Majority => v1::ReadConcern::Majority.into(),
        };
        let at_position = self.at;
        (hint, options.map(|options| QueryOptions { max_time_ms, read_concern, at_position, ..options }))
    }
}

fn hint_of(text: String) -> v1::Hint {
    let is_keys = text.trim_start().starts_with('{');
    let index = if is_keys { hint::Index::Keys(json(text)) } else { hint::Index::Name(text) };
    v1::Hint { index: Some(index) }
}

/// The documents that arguments hold, in order: each argument is one, or an array of several. `what` names them in errors.
///
/// # Errors
/// If an array is no JSON.
pub(crate) fn documents(arguments: Vec<String>, what: &str) -> Result<Vec<v1::Document>, CliError> {
    let mut documents = Vec::new();
    for argument in arguments {
        if !is_array(&argument) {
            documents.push(json(argument));
            continue;
        }
        let array: Vec<serde_json::Value> = serde_json::from_str(&argument)
            .map_err(|error| CliError::Usage(format!("{what} is not JSON: {error}")))?;
        documents.extend(array.into_iter().map(|document| json(document.to_string())));
    }
    Ok(documents)
}

/// An update as the server takes it: a document of operators, or an array of stages.
///
/// # Errors
/// If an array is no JSON.
pub(crate) fn update(text: String) -> Result<(Option<v1::Document>, Option<v1::Pipeline>), CliError> {
    if is_array(&text) {
        let stages = documents(vec![text], "the update")?;
        return Ok((None, Some(v1::Pipeline { stages })));
    }
    Ok((Some(json(text)), None))
}

fn is_array(text: &str) -> bool {
    text.trim_start().starts_with('[')
}
