//! `orlop release`: how a new revision takes over, and what a person commands of it.
//!
//! A command is an annotation that names its revision; the operator obeys it and answers in the
//! status. So whatever this verb does, `kubectl annotate` and GitOps can do as well.

mod command;
mod history;
mod released;
mod status;

use std::io::Write as _;

use anyhow::Context as _;
use serde::Serialize;

use crate::{
    Failure,
    args::{Connection, Format, Release},
    cluster::Cluster,
};

use self::command::Asked;

pub(crate) async fn run(verb: &Release, connection: &Connection) -> Result<(), Failure> {
    let cluster = Cluster::connect(connection).await?;
    let (subject, asked) = match verb {
        Release::Status(args) => return status::run(args, &cluster).await,
        Release::History(args) => return history::run(args, &cluster).await,
        Release::Promote(args) => (&args.subject, Asked::Promote { full: args.full }),
        Release::Abort(subject) => (subject, Asked::Abort),
        Release::Undo(args) => (
            &args.subject,
            Asked::Undo {
                to: args.to.clone(),
            },
        ),
        Release::Pause(subject) => (subject, Asked::Pause),
        Release::Resume(subject) => (subject, Asked::Resume),
    };
    command::run(&asked, subject, &cluster).await
}

/// One value for a program.
fn print_value(value: &impl Serialize, format: Format) -> anyhow::Result<()> {
    print(&match format {
        Format::Yaml => serde_saphyr::to_string(value)?,
        Format::Json => serde_json::to_string_pretty(value)? + "\n",
    })
}

fn print(text: &str) -> anyhow::Result<()> {
    let written = std::io::stdout().lock().write_all(text.as_bytes());
    written.context("failed to write to standard output")
}
