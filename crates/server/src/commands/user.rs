//! `tidewaiter user …`

use crate::cli::{AddUser, UserCommand};
use access::user::{self, NewUser};
use access::{By, UserRole, audit, password};
use anyhow::Context;
use model::Clock;
use sqlx::{PgConnection, PgPool};
use std::io::{IsTerminal, Read};

pub async fn run(pool: &PgPool, by: By<'_>, command: UserCommand) -> anyhow::Result<()> {
    let mut conn = pool.acquire().await?;
    match command {
        UserCommand::Add(new) => add(&mut conn, by, new).await,
        UserCommand::Role { name, role } => set_role(&mut conn, by, &name, &role).await,
        UserCommand::List => list(&mut conn).await,
        UserCommand::Remove { name } => remove(&mut conn, by, &name).await,
        UserCommand::SetPassword { userid, permanent } => set_password(pool, by, &userid, !permanent).await,
    }
}

async fn add(conn: &mut PgConnection, by: By<'_>, new: AddUser) -> anyhow::Result<()> {
    let role = parse_role(&new.role)?;
    let made = new.make_password.then(password::random);
    let password = match &made {
        Some(made) => made.clone(),
        None => read_password(&new.name)?,
    };
    let full_name = new.full_name.unwrap_or_default();
    user::add(conn, &Clock::default(), NewUser { userid: &new.name, name: &full_name, role, password: &password }).await?;
    audit::user_added(by, &new.name, role.as_str());
    match made {
        Some(made) => println!("{} is a user now ({}), with the password {made}, to be changed at the first login.", new.name, role.label()),
        None => println!("{} is a user now ({}). The password is to be changed at the first login.", new.name, role.label()),
    }
    Ok(())
}

async fn set_role(conn: &mut PgConnection, by: By<'_>, name: &str, role: &str) -> anyhow::Result<()> {
    let role = parse_role(role)?;
    user::set_role(conn, name, role).await?;
    audit::user_role_changed(by, name, role.as_str());
    println!("{name} is {} from the next click on.", role.label());
    Ok(())
}

fn parse_role(text: &str) -> anyhow::Result<UserRole> {
    let names = || UserRole::ALL.map(UserRole::as_str).join(", ");
    UserRole::parse(text).with_context(|| format!("there is no role {text:?}; there are {}", names()))
}

async fn list(conn: &mut PgConnection) -> anyhow::Result<()> {
    for user in user::list(conn).await? {
        let last = user.last_login_at.map_or_else(|| "never".to_owned(), |at| at.format("%Y-%m-%dT%H:%M:%SZ").to_string());
        let password = if user.must_change_password { "to be changed" } else { "own" };
        println!("{}\t{}\tpassword {password}\tlast login {last}\t{}", user.userid, user.role.as_str(), user.name);
    }
    Ok(())
}

async fn remove(conn: &mut PgConnection, by: By<'_>, name: &str) -> anyhow::Result<()> {
    user::remove(conn, name).await?;
    audit::user_removed(by, name);
    println!("{name} is no user any more; all sessions of {name} have ended.");
    Ok(())
}

async fn set_password(pool: &PgPool, by: By<'_>, userid: &str, must_change: bool) -> anyhow::Result<()> {
    let password = read_password(userid)?;
    let mut tx = pool.begin().await?;
    access::set_password(&mut tx, &Clock::default(), userid, &password, must_change).await?;
    tx.commit().await?;
    audit::password_changed(by, userid);
    let then = if must_change { " It is to be changed at the next login." } else { "" };
    println!("{userid} has a new password; all sessions of {userid} have ended.{then}");
    Ok(())
}

fn read_password(userid: &str) -> anyhow::Result<String> {
    if std::io::stdin().is_terminal() {
        eprintln!("New password of {userid}, then Enter and Ctrl-D (it is shown while you type):");
    }
    let mut password = String::new();
    std::io::stdin().read_to_string(&mut password).context("reading the password from standard input")?;
    Ok(password.trim_end_matches(['\r', '\n']).to_owned())
}
