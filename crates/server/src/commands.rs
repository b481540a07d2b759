//! The commands.

mod provider;
mod role;

use crate::cli::{Cli, Command, UserCommand};
use crate::settings::Settings;
use crate::{database, serve};
use anyhow::Context;
use model::Clock;
use std::io::{IsTerminal, Read};

/// Runs one command.
///
/// # Errors
/// What keeps it from succeeding, in a sentence for the terminal.
pub async fn run(cli: Cli) -> anyhow::Result<()> {
    let settings = Settings::load()?;
    let command = match cli.command.unwrap_or(Command::Serve) {
        Command::Serve => return serve::run(settings).await,
        command => command,
    };
    let database = database::open(&settings).await?;
    let done = async {
        database.migrate().await?;
        match command {
            Command::Serve | Command::Migrate => Ok(()),
            Command::Provider(command) => provider::run(&database.pool, &settings, command).await,
            Command::Role(command) => role::run(&database.pool, &settings, command).await,
            Command::User(UserCommand::SetPassword { userid }) => set_password(&database.pool, &userid).await,
        }
    }
    .await;
    database.close().await;
    done
}

async fn set_password(pool: &sqlx::PgPool, userid: &str) -> anyhow::Result<()> {
    if std::io::stdin().is_terminal() {
        eprintln!("New password of {userid}, then Enter and Ctrl-D (it is shown while you type):");
    }
    let mut password = String::new();
    std::io::stdin().read_to_string(&mut password).context("reading the password from standard input")?;
    let mut tx = pool.begin().await?;
    access::set_password(&mut tx, &Clock::default(), userid, password.trim_end_matches(['\r', '\n'])).await?;
    tx.commit().await?;
    println!("{userid} has a new password; all sessions of {userid} have ended.");
    Ok(())
}
