//! The commands.

mod provider;
mod role;
mod user;

use crate::cli::{Cli, Command};
use crate::settings::Settings;
use crate::{database, serve};
use access::By;
use access::audit::NO_ADDRESS;
use nix::unistd::{Uid, User};

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
    let userid = acting_userid(cli.acting_as.as_deref())?;
    let by = By { userid: &userid, address: NO_ADDRESS };
    let database = database::open(&settings).await?;
    let done = async {
        database.migrate().await?;
        match command {
            Command::Serve | Command::Migrate => Ok(()),
            Command::Provider(command) => provider::run(&database.pool, &settings, by, command).await,
            Command::Role(command) => role::run(&database.pool, &settings, by, command).await,
            Command::User(command) => user::run(&database.pool, by, command).await,
        }
    }
    .await;
    database.close().await;
    done
}

/// Who runs a command, as tasks and the log have it: `cli:alice`. Whoever became root by sudo acts under the own name.
fn acting_userid(given: Option<&str>) -> anyhow::Result<String> {
    let name = match given {
        Some(name) => name.to_owned(),
        None => os_user(),
    };
    anyhow::ensure!(!name.is_empty() && name.len() <= 100 && !name.contains(char::is_control), "--as needs a name of 1 to 100 letters");
    Ok(format!("cli:{name}"))
}

fn os_user() -> String {
    let uid = Uid::current();
    let before_sudo = std::env::var("SUDO_USER").ok().filter(|name| uid.is_root() && !name.is_empty());
    let name = || User::from_uid(uid).ok().flatten().map(|user| user.name);
    before_sudo.or_else(name).unwrap_or_else(|| uid.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commands_act_under_a_name() {
        assert_eq!(acting_userid(Some("alice")).unwrap(), "cli:alice");
        assert!(acting_userid(None).unwrap().len() > "cli:".len());
        assert!(acting_userid(Some("")).is_err() && acting_userid(Some("a\nb")).is_err());
    }
}
