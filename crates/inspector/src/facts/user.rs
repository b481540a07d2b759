//! Which user a container of an image runs as.
//!
//! Source: containerd's `oci.WithUser` and moby's `user` package, which reads /etc/passwd: numbers are ids, anything else is a name of /etc/passwd, and an id
//! there that is no number counts as 0.

/// Who the image's process is.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum RunsAs {
    /// User 0; the reason, for people.
    Root(String),
    Other,
    /// No container starts with it.
    Nobody(String),
}

/// What `user` (USER of the image) means with `passwd`, the image's /etc/passwd, empty where there is none.
pub(super) fn runs_as(user: &str, passwd: &str) -> RunsAs {
    let parts: Vec<&str> = user.split(':').collect();
    let name = parts[0];
    if parts.len() > 2 {
        return RunsAs::Nobody(format!("USER {user} has more than one colon, so no container of this image starts"));
    }
    if name.is_empty() {
        return RunsAs::Root("no USER is set, so containers run as root".into());
    }
    match number(name) {
        Some(0) => return RunsAs::Root(format!("USER {user} is user 0")),
        Some(_) => return RunsAs::Other,
        None => {}
    }
    match id(passwd, name) {
        Some(0) => RunsAs::Root(format!("USER {user} is user 0 in /etc/passwd")),
        Some(_) => RunsAs::Other,
        None if name == "root" => RunsAs::Root("USER root is user 0".into()),
        None => RunsAs::Nobody(format!("USER {user} is not in /etc/passwd, so no container of this image starts without another user")),
    }
}

/// The id that `text` is, as Go's `Atoi` and containerd's range have it.
pub(super) fn number(text: &str) -> Option<u32> {
    let digits = text.strip_prefix(['+', '-']).unwrap_or(text);
    if digits.is_empty() || !digits.bytes().all(|c| c.is_ascii_digit()) {
        return None;
    }
    text.parse::<i64>().ok().and_then(|id| u32::try_from(id).ok()).filter(|id| *id <= i32::MAX.unsigned_abs())
}

/// The id of the first line of `passwd` for `name`.
fn id(passwd: &str, name: &str) -> Option<u32> {
    let line = passwd.lines().map(str::trim).find(|line| line.split(':').next() == Some(name) && !line.is_empty())?;
    let id = line.split(':').nth(2).unwrap_or_default();
    // What is no number counts as 0, and only the lowest 32 bits are used.
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "as the runtime does it")]
    Some(id.parse::<i64>().unwrap_or(0) as u32)
}

#[cfg(test)]
mod tests {
    use super::{RunsAs, runs_as};

    #[test]
    fn a_container_runs_as_the_runtime_reads_user_and_passwd() {
        let passwd = "root:x:0:0:root:/root:/bin/sh\napp:x:0:1000::/:/bin/sh\nweb:x:33:33::/:/bin/sh\nodd:x:none:1\nshort\ntoor:x:0:0::/:/bin/sh\nwrapped:x:4294967296:1\n weird:x:5:5\n";
        let root = |user: &str| matches!(runs_as(user, passwd), RunsAs::Root(_));
        for user in ["", "0", "00", "0:0", "root", "root:root", "root:1000", "0:1000", "app", "app:app", "toor", ":1000", "+0", "-0", "odd", "short", "wrapped"]
        {
            assert!(root(user), "{user}");
        }
        for user in ["1000", "1000:0", "10001:10001", "web", "web:root", "33", "65534", "weird", "2147483647"] {
            assert_eq!(runs_as(user, passwd), RunsAs::Other, "{user}");
        }
        for user in ["nobody2", "a:b:c", "0x0", "-1", "4294967296", "Root", "roots"] {
            assert!(matches!(runs_as(user, passwd), RunsAs::Nobody(_)), "{user}");
        }
        assert!(matches!(runs_as("root", ""), RunsAs::Root(_)), "an image without accounts");
        assert!(matches!(runs_as("app", ""), RunsAs::Nobody(_)));
    }
}
