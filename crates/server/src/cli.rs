//! The command line.

use clap::{ArgAction, Args, Parser, Subcommand};
use std::path::PathBuf;

/// Inspects every container image of your clusters where it runs.
#[derive(Debug, Parser)]
#[command(name = "tidewaiter", version)]
pub struct Cli {
    /// Who acts, in tasks and the log: recorded as cli:NAME; without this, whoever is logged in on this machine
    #[arg(long = "as", global = true, value_name = "NAME")]
    pub acting_as: Option<String>,
    #[command(subcommand)]
    pub command: Option<Command>,
}

#[derive(Debug, Subcommand)]
pub enum Command {
    /// Run the server (what happens without a command, too)
    Serve,
    /// Bring the database up to date and end
    Migrate,
    /// Clusters
    #[command(subcommand)]
    Provider(ProviderCommand),
    /// Roles of a server
    #[command(subcommand)]
    Role(RoleCommand),
    /// People
    #[command(subcommand)]
    User(UserCommand),
}

#[derive(Debug, Subcommand)]
pub enum ProviderCommand {
    /// Check the connection, then add the provider and ask for its first refresh
    Add(AddProvider),
    /// Name, kind, status, address, last refresh, and whether its results are shared or apart, of all providers
    List,
    /// Say whether what is found on a provider counts for the same images at others, and theirs for it
    Set {
        #[arg(long)]
        name: String,
        /// false for a cluster that other people run: it is then analysed for itself alone
        #[arg(long, action = ArgAction::Set)]
        share_results: bool,
    },
    /// Ask nothing of a provider any more, a harmful one for example: it is neither watched nor refreshed, and its analyses end
    Pause {
        #[arg(long)]
        name: String,
    },
    /// End a provider's pause
    Resume {
        #[arg(long)]
        name: String,
    },
    /// Read a provider again
    Refresh {
        #[arg(long)]
        name: String,
        /// End when the refresh has ended, with its success
        #[arg(long)]
        wait: bool,
    },
    /// Forget a provider and its inventory: a running server ends its analyses first
    Delete {
        #[arg(long)]
        name: String,
    },
}

#[derive(Debug, Args)]
pub struct AddProvider {
    /// Shown everywhere
    #[arg(long)]
    pub name: String,
    /// kubernetes or openshift
    #[arg(long, default_value = "kubernetes")]
    pub kind: String,
    /// A kubeconfig; `-` reads it from standard input
    #[arg(long)]
    pub kubeconfig: PathBuf,
    /// Its context; without this the current one
    #[arg(long)]
    pub context: Option<String>,
    /// Change the provider of that name when there is one
    #[arg(long)]
    pub replace: bool,
    /// Whether what is found on it counts for the same images at other providers, and theirs for it (without this: true, or as it was): false for a
    /// cluster that other people run
    #[arg(long)]
    pub share_results: Option<bool>,
}

#[derive(Debug, Subcommand)]
pub enum RoleCommand {
    /// All roles of a server, on or off
    List {
        #[arg(long)]
        server: Option<String>,
    },
    /// Switch a role on, at once
    Enable(RoleOf),
    /// Switch a role off, at once
    Disable(RoleOf),
}

#[derive(Debug, Args)]
pub struct RoleOf {
    /// user_interface, web_services, ems_inventory, smartstate or smartproxy
    pub role: String,
    /// Name of the server; without this, this host's
    #[arg(long)]
    pub server: Option<String>,
}

#[derive(Debug, Subcommand)]
pub enum UserCommand {
    /// Add a person; the first password is read from standard input and has to be changed at the first login
    Add(AddUser),
    /// Give a person another role, at once
    Role { name: String, role: String },
    /// Name, role, password and last login of all people
    List,
    /// Take a person away and end its sessions; what was recorded under its name stays
    Remove { name: String },
    /// Read a new password from standard input, to be changed at the next login; ends the person's sessions
    SetPassword {
        #[arg(long, default_value = "admin")]
        userid: String,
        /// The person need not change it: only when it is the person who runs this
        #[arg(long)]
        permanent: bool,
    },
}

#[derive(Debug, Args)]
pub struct AddUser {
    /// What one logs in with
    pub name: String,
    /// super_administrator, operator or auditor
    #[arg(long)]
    pub role: String,
    /// Shown on pages
    #[arg(long)]
    pub full_name: Option<String>,
    /// Make a password and print it, instead of reading one
    #[arg(long)]
    pub make_password: bool,
}
