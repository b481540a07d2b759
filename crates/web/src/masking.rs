//! Values that look like secrets, for those who may not see them (`Permission::SeeSecrets`): environment, commands, labels, annotations.

use access::{Permission, User};
use scap::report::ImageConfig;
use scap::secrets::{mask_command, mask_text, mask_variable, mask_variables};
use serde_json::Value;

/// Whether `user` gets masked values.
pub fn applies(user: &User) -> bool {
    !user.may(Permission::SeeSecrets)
}

/// An image's configuration as `user` may see it.
pub fn configuration(user: &User, config: &mut ImageConfig) {
    if applies(user) {
        config.env = mask_variables(&config.env);
        config.entrypoint = mask_command(&config.entrypoint);
        config.cmd = mask_command(&config.cmd);
        config.labels.iter_mut().for_each(|(name, value)| *value = mask_variable(name, value));
    }
}

/// A container's command as `user` may see it.
pub fn command(user: &User, words: &mut Vec<String>) {
    if applies(user) {
        *words = mask_command(words);
    }
}

/// A sentence of the cluster as `user` may see it.
pub fn text(user: &User, text: &mut String) {
    if applies(user) {
        *text = mask_text(text);
    }
}

/// Labels or annotations as `user` may see them. An annotation may hold a whole object as JSON.
pub fn pairs(user: &User, object: &mut Value) {
    if applies(user) {
        mask_pairs(object);
    }
}

/// The resources of an API's answer as `user` may see them.
pub fn resources(user: &User, answer: &mut Value) {
    if !applies(user) {
        return;
    }
    match answer.get_mut("resources") {
        Some(Value::Array(resources)) => resources.iter_mut().for_each(resource),
        _ => resource(answer),
    }
}

fn resource(resource: &mut Value) {
    if let Some(labels) = resource.get_mut("labels") {
        mask_pairs(labels);
    }
    let Some(config) = resource.get_mut("configuration").and_then(Value::as_object_mut) else { return };
    for (field, value) in config {
        match field.as_str() {
            "env" => mask_list(value, mask_variables),
            "entrypoint" | "cmd" => mask_list(value, mask_command),
            "labels" => mask_pairs(value),
            _ => {}
        }
    }
}

fn mask_list(value: &mut Value, mask: fn(&[String]) -> Vec<String>) {
    let words: Vec<String> = value.as_array().into_iter().flatten().map(|word| word.as_str().unwrap_or_default().to_owned()).collect();
    *value = mask(&words).into();
}

fn mask_pairs(object: &mut Value) {
    for (name, value) in object.as_object_mut().into_iter().flatten() {
        if let Value::String(text) = value {
            *text = mask_variable(name, text);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use access::UserRole;
    use model::ids::UserId;
    use serde_json::json;

    fn user(role: UserRole) -> User {
        User { id: UserId(1), userid: "u".into(), name: String::new(), role }
    }

    #[test]
    fn only_an_administrator_sees_what_looks_like_a_secret() {
        let answer = json!({"resources": [{"labels": {"token": "Kq7xT2mN", "team": "a"}, "configuration": {
            "env": ["DB_PASSWORD=Kq7xT2mN", "URL=redis://:Kq7xT2mN@r", "LANG=C"], "cmd": ["app", "--password", "Kq7xT2mN"], "entrypoint": [], "labels": {"token": "Kq7xT2mN"}}}]});
        for role in [UserRole::Auditor, UserRole::Operator] {
            let mut masked = answer.clone();
            resources(&user(role), &mut masked);
            let config = &masked["resources"][0]["configuration"];
            assert_eq!(config["env"], json!(["DB_PASSWORD=••••••", "URL=redis://:••••••@r", "LANG=C"]));
            assert_eq!(config["cmd"], json!(["app", "--password", "••••••"]));
            assert!(!masked.to_string().contains("Kq7xT2mN") && masked.to_string().contains("\"team\":\"a\""), "{masked}");
            let mut one = answer["resources"][0].clone();
            resources(&user(role), &mut one);
            assert_eq!(one, masked["resources"][0]);
        }
        let mut seen = answer.clone();
        resources(&user(UserRole::SuperAdministrator), &mut seen);
        assert_eq!(seen, answer);
    }
}
