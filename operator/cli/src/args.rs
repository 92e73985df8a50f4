//! The command line.

use std::{path::PathBuf, time::Duration};

use clap::{Parser, Subcommand, ValueEnum};

const EXIT_CODES: &str = "\
Exit codes:
  0  done
  1  something went wrong: a file, the network, the API server, a command that was refused
  2  the command line was not understood, or does not fit what there is
  3  a manifest is not valid
  4  an application is not ready, was not in time, or a revision is held back";

const RELEASE_HELP: &str = "\
NAME is a service or a pool of workers. Where one word is not enough, it is KIND/NAME
(appservice/shop-web, workerpool/shop-mail) or APPLICATION/COMPONENT (shop/web).

A command is an annotation on the object, release.orlop.dev/command: <verb>@<revision>.
It names its revision, so that one that comes late does nothing.";

#[derive(Parser)]
#[command(
    about = "One YAML file becomes a whole running application on Kubernetes",
    version,
    after_help = EXIT_CODES
)]
pub(crate) struct Args {
    #[command(subcommand)]
    pub(crate) verb: Verb,
    #[command(flatten)]
    pub(crate) connection: Connection,
}

/// Which cluster, and where in it.
#[derive(clap::Args, Clone, Debug, Default)]
pub(crate) struct Connection {
    /// Namespace; without it the manifest's, then the context's, then `default`
    #[arg(short, long, global = true)]
    pub(crate) namespace: Option<String>,
    /// Context of the kubeconfig
    #[arg(long, global = true)]
    pub(crate) context: Option<String>,
    /// Kubeconfig; without it $KUBECONFIG, then ~/.kube/config
    #[arg(long, global = true, value_name = "FILE")]
    pub(crate) kubeconfig: Option<PathBuf>,
}

#[derive(Subcommand)]
pub(crate) enum Verb {
    /// Write a first manifest, with comments, to start from
    Init(Init),
    /// Judge a manifest and print the objects that it becomes, without a cluster
    Render(Render),
    /// Judge a manifest and give it to the cluster
    Apply(Apply),
    /// Show applications and services, and whether they are ready
    Status(Status),
    /// Tell why something is not ready: cause, fix, place, what users notice, how to undo
    Why(Why),
    /// See how a new revision takes over, and promote, abort, undo or pause it
    #[command(subcommand, after_help = RELEASE_HELP)]
    Release(Release),
}

#[derive(clap::Args)]
pub(crate) struct Init {
    /// File to write; it must not exist yet
    #[arg(default_value = "app.yaml")]
    pub(crate) file: PathBuf,
    /// Name of the application
    #[arg(long, default_value = "app")]
    pub(crate) name: String,
    /// Container image of its first service
    #[arg(long, default_value = "registry.example/app/web:1")]
    pub(crate) image: String,
}

#[derive(clap::Args)]
pub(crate) struct Files {
    /// Manifest, of one or several documents; `-` is standard input
    #[arg(short = 'f', long = "file", value_name = "FILE", required = true)]
    pub(crate) files: Vec<PathBuf>,
}

#[derive(clap::Args)]
pub(crate) struct Render {
    #[command(flatten)]
    pub(crate) files: Files,
    /// Format of the objects
    #[arg(short, long, value_enum, default_value_t = Format::Yaml)]
    pub(crate) output: Format,
    /// DNS suffix of the cluster
    #[arg(long, default_value = "cluster.local", value_name = "DOMAIN")]
    pub(crate) cluster_domain: String,
    /// Registry and path of Orlop's own images, as the operator is installed with
    #[arg(long, default_value = "orlop.dev", value_name = "REGISTRY")]
    pub(crate) registry: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Format {
    Yaml,
    Json,
}

#[derive(clap::Args)]
pub(crate) struct Apply {
    #[command(flatten)]
    pub(crate) files: Files,
    /// Wait until everything is ready
    #[arg(long)]
    pub(crate) wait: bool,
    /// How long to wait at most, such as 90s or 5m
    #[arg(long, default_value = "5m", value_parser = duration)]
    pub(crate) timeout: Duration,
    /// Take over fields that another tool has set
    #[arg(long)]
    pub(crate) force_conflicts: bool,
}

#[derive(clap::Args)]
pub(crate) struct Status {
    /// Name of one application or service; its components are shown
    pub(crate) name: Option<String>,
    /// All namespaces
    #[arg(short = 'A', long, conflicts_with = "name")]
    pub(crate) all_namespaces: bool,
    /// Stay, and show what changes
    #[arg(short, long, conflicts_with = "output")]
    pub(crate) watch: bool,
    /// Format; a table for people when left out
    #[arg(short, long, value_enum)]
    pub(crate) output: Option<StatusFormat>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum StatusFormat {
    Json,
    Yaml,
    /// A table with the services of applications, addresses and causes
    Wide,
}

#[derive(clap::Args)]
pub(crate) struct Why {
    /// Name of the application or service; everything that is not ready when left out
    pub(crate) name: Option<String>,
    /// All namespaces
    #[arg(short = 'A', long, conflicts_with = "name")]
    pub(crate) all_namespaces: bool,
    /// The manifest, to point at the line
    #[arg(short = 'f', long = "file", value_name = "FILE")]
    pub(crate) file: Option<PathBuf>,
}

#[derive(Subcommand)]
pub(crate) enum Release {
    /// Show what is served, where the release stands, what it waits for and what comes next
    Status(ReleaseStatus),
    /// Let the new revision pass the gate; one that is held back is released once more
    Promote(Promote),
    /// Hold the new revision back, and go on with the one before it
    Abort(Subject),
    /// Go back to the revision that was served before, or to another one that is kept
    Undo(Undo),
    /// Stop the release before its next step
    Pause(Subject),
    /// Let a paused release go on
    Resume(Subject),
    /// List the revisions that are kept and can be gone back to, the newest first
    History(History),
}

/// What is released.
#[derive(clap::Args)]
pub(crate) struct Subject {
    /// Service or pool of workers; also KIND/NAME or APPLICATION/COMPONENT
    pub(crate) name: String,
}

#[derive(clap::Args)]
pub(crate) struct ReleaseStatus {
    #[command(flatten)]
    pub(crate) subject: Subject,
    /// Stay until the release has ended: 0 if the declared revision is served, 4 if it is held back
    #[arg(short, long, conflicts_with = "output")]
    pub(crate) watch: bool,
    /// Format; words for people when left out
    #[arg(short, long, value_enum)]
    pub(crate) output: Option<Format>,
}

#[derive(clap::Args)]
pub(crate) struct Promote {
    #[command(flatten)]
    pub(crate) subject: Subject,
    /// Past its checks as well
    #[arg(long)]
    pub(crate) full: bool,
}

#[derive(clap::Args)]
pub(crate) struct Undo {
    #[command(flatten)]
    pub(crate) subject: Subject,
    /// Revision to go back to, or at least its first 4 digits, or its number in the history
    #[arg(long, value_name = "REVISION")]
    pub(crate) to: Option<String>,
}

#[derive(clap::Args)]
pub(crate) struct History {
    #[command(flatten)]
    pub(crate) subject: Subject,
    /// Format; a table for people when left out
    #[arg(short, long, value_enum)]
    pub(crate) output: Option<Format>,
}

fn duration(text: &str) -> Result<Duration, orlop_crds::duration::InvalidDuration> {
    let duration: orlop_crds::Duration = text.parse()?;
    Ok(Duration::from_millis(duration.as_millis()))
}
