//! A feed of a distribution's size, about packages with numbers.

use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::Path;

pub const PACKAGES: usize = 5_000;
const DEFINITIONS: usize = 40_000;
const OVAL: &str = "http://oval.mitre.org/XMLSchema/oval-definitions-5";

pub fn package(number: usize) -> String {
    format!("package-{number}")
}

/// Writes it to `path`: some 60 MB.
pub fn write(path: &Path) {
    let mut out = BufWriter::new(File::create(path).unwrap());
    let mut line = |text: String| writeln!(out, "{text}").unwrap();
    let id = |kind: &str, number: usize| format!("oval:org.example:{kind}:{number}");
    line(format!(
        r#"<oval_definitions xmlns="{OVAL}" xmlns:oval="http://oval.mitre.org/XMLSchema/oval-common-5" xmlns:linux="{OVAL}#linux"><generator>
        <oval:schema_version>5.11.1</oval:schema_version><oval:timestamp>2026-01-01T00:00:00</oval:timestamp></generator><definitions>"#
    ));
    for number in 1..=DEFINITIONS {
        let words = "Something may go wrong under conditions that are described here at some length. ".repeat(5);
        line(format!(
            r#"<definition id="{}" version="1" class="vulnerability"><metadata><title>CVE-2026-{number}</title><affected family="unix"/>
            <description>{words}</description></metadata><criteria><criterion test_ref="{}" comment="it is too old"/></criteria></definition>"#,
            id("def", number),
            id("tst", number)
        ));
    }
    line("</definitions><tests>".into());
    for number in 1..=DEFINITIONS {
        line(format!(
            r#"<linux:dpkginfo_test id="{}" version="1" check="at least one" comment="x"><linux:object object_ref="{}"/><linux:state state_ref="{}"/></linux:dpkginfo_test>"#,
            id("tst", number),
            id("obj", number % PACKAGES + 1),
            id("ste", number)
        ));
    }
    line("</tests><objects>".into());
    for number in 0..PACKAGES {
        let name = package(number);
        line(format!(r#"<linux:dpkginfo_object id="{}" version="1"><linux:name>{name}</linux:name></linux:dpkginfo_object>"#, id("obj", number + 1)));
    }
    line("</objects><states>".into());
    for number in 1..=DEFINITIONS {
        let (id, evr) = (id("ste", number), format!("0:{}-1", number % 90));
        line(format!(
            r#"<linux:dpkginfo_state id="{id}" version="1"><linux:evr datatype="debian_evr_string" operation="less than">{evr}</linux:evr></linux:dpkginfo_state>"#
        ));
    }
    line("</states></oval_definitions>".into());
    out.flush().unwrap();
}
