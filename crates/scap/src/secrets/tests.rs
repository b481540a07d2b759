//! The corpus of what is a secret and what is not.

mod compose;

use super::*;
use compose::compose;

static CORPUS: &str = include_str!("../../testdata/secrets/corpus.txt");

struct Example {
    secret: bool,
    place: String,
    text: String,
    line: usize,
}

fn corpus() -> Vec<Example> {
    let lines = CORPUS.lines().enumerate().filter(|(_, line)| line.starts_with(['+', '-']));
    lines
        .map(|(number, line)| {
            let (example, source) = line.rsplit_once(" ## ").unwrap_or_else(|| panic!("line {} says no source", number + 1));
            assert!(!source.trim().is_empty());
            let mut words = example.splitn(3, ' ');
            let secret = words.next() == Some("+");
            let place = words.next().unwrap().to_owned();
            Example { secret, place, text: compose(words.next().unwrap()), line: number + 1 }
        })
        .collect()
}

fn secrets(example: &Example) -> Vec<Secret> {
    match example.place.as_str() {
        "env" | "label" => {
            let (name, value) = example.text.split_once('=').unwrap();
            in_variable(name, value)
        }
        "cmd" => in_command(&example.text.split(' ').map(str::to_owned).collect::<Vec<_>>()),
        "text" => in_text(&example.text),
        other => panic!("no place {other}"),
    }
}

#[test]
fn the_corpus_is_right_on_both_sides() {
    let corpus = corpus();
    let wrong: Vec<String> = corpus
        .iter()
        .filter(|example| secrets(example).is_empty() == example.secret)
        .map(|example| format!("line {}: {} {}", example.line, if example.secret { "missed" } else { "none, but found" }, example.text))
        .collect();
    assert!(wrong.is_empty(), "{} of {}:\n{}", wrong.len(), corpus.len(), wrong.join("\n"));
    let true_ones = corpus.iter().filter(|example| example.secret).count();
    assert!(true_ones >= 150 && corpus.len() - true_ones >= 150, "{true_ones} of {}", corpus.len());
}

#[test]
fn what_is_masked_holds_no_secret_any_more_and_the_rest_stays() {
    for example in corpus() {
        let masked = match example.place.as_str() {
            "env" | "label" => mask_variables(std::slice::from_ref(&example.text)).remove(0),
            "cmd" => mask_command(&example.text.split(' ').map(str::to_owned).collect::<Vec<_>>()).join(" "),
            _ => mask_text(&example.text),
        };
        assert_eq!(masked.contains(MASK), example.secret, "line {}: {masked}", example.line);
        if !example.secret {
            assert_eq!(masked, example.text);
        }
        let again = Example { text: masked, ..example };
        assert_eq!(secrets(&again), [], "line {}: {}", again.line, again.text);
    }
    assert_eq!(mask_variable("DATABASE_URL", "postgres://app:Kq7xT2mN@db/app"), "postgres://app:••••••@db/app");
    assert_eq!(mask_command(&["app".into(), "--password".into(), "Kq7xT2mN".into(), "-v".into()]), ["app", "--password", MASK, "-v"]);
}

#[test]
fn hostile_texts_take_no_longer_than_others() {
    let pieces = [
        "://a)",
        "@tcp(",
        "authorization",
        "authorization: basic ",
        "-----BEGIN PRIVATE KEY-----",
        "Private-Lines:",
        "xoxd-",
        "eyJ.",
        "Q~",
        ":AA",
        "sig=",
        "-us1",
        ",",
        ">",
        "</",
        "=[",
        "={",
        "=\"",
        "='",
        "=}",
        "password=",
        "key=\"",
        "name: ",
        "jdbc:oracle:thin:",
        "-pabc ",
        "'a \"b ",
        "${",
        "a:",
        "://a:b@",
        "\u{2022}=",
        "curl -u a:b ",
        "define('",
        "{{",
        "echo a|passwd ",
        "htpasswd -b ",
        "pwd=;uid=",
        "useradd -p $(",
        "curl) -u ",
        "a: ,",
        "ghp_",
        "sk-",
        "glpat-",
        "eyJa",
        "\\\"",
        "x-api-key:",
        "password 'user ",
        "https://a.test/hooks/",
    ];
    let took = |text: &str| {
        let begun = std::time::Instant::now();
        for style in [Style::Inline, Style::Line, Style::Code] {
            in_line(text, style);
        }
        in_command(&[text.to_owned()]);
        in_variable("DB_PASSWORD", text);
        begun.elapsed()
    };
    // Sixteen times the text takes about sixteen times as long, and more than thirty times when some of the work is quadratic.
    let growth = |piece: &str| {
        let of = |bytes: usize| piece.repeat(bytes / piece.len());
        let (short, long) = (of(8 << 10), of(128 << 10));
        let short = (0..3).map(|_| took(&short)).min().unwrap_or_default();
        took(&long).as_secs_f64() / short.as_secs_f64()
    };
    // Another process may disturb one measurement, but hardly three.
    let slow: Vec<_> = pieces.iter().filter(|piece| (0..3).all(|_| growth(piece) > 30.0)).collect();
    assert!(slow.is_empty(), "{slow:?}");
}
