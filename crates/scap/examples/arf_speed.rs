//! Measures reading a large ARF: writes one of about 95 MB with the shape of a real one, reads it, prints MB/s and the peak memory.
//!
//! `cargo run --release -p scap --example arf_speed`

use std::fs::File;
use std::io::{self, BufReader, BufWriter, Write};
use std::time::Instant;

const RULES: usize = 27_000;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut file = tempfile::NamedTempFile::new()?;
    write_arf(&mut BufWriter::new(file.as_file_mut()))?;
    let megabytes = file.as_file().metadata()?.len() as f64 / 1e6;
    let mut best = f64::MAX;
    let mut rules = 0;
    for _ in 0..3 {
        let started = Instant::now();
        rules = scap::arf::parse(BufReader::with_capacity(1 << 16, File::open(file.path())?))?.rules.len();
        best = best.min(started.elapsed().as_secs_f64());
    }
    let status = std::fs::read_to_string("/proc/self/status")?;
    let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).map_or("unknown", str::trim);
    println!("ARF of {megabytes:.0} MB, {rules} rules: {best:.2} s, {:.0} MB/s, peak memory {peak}", megabytes / best);
    Ok(())
}

fn write_arf(out: &mut impl Write) -> io::Result<()> {
    writeln!(
        out,
        r#"<?xml version="1.0" encoding="UTF-8"?><arf:asset-report-collection xmlns:arf="http://scap.nist.gov/schema/asset-reporting-format/1.1"><arf:report-requests><arf:report-request id="collection1"><arf:content><ds:data-stream-collection xmlns:ds="http://scap.nist.gov/schema/scap/source/1.2">"#
    )?;
    writeln!(out, r#"<ds:component><oval_definitions xmlns="http://oval.mitre.org/XMLSchema/oval-definitions-5"><definitions>"#)?;
    definitions(out)?;
    writeln!(
        out,
        r#"</definitions></oval_definitions></ds:component><ds:component><Benchmark xmlns="http://checklists.nist.gov/xccdf/1.2" xmlns:html="http://www.w3.org/1999/xhtml" id="b"><title>Speed</title><Group id="g">"#
    )?;
    for n in 0..RULES {
        writeln!(
            out,
            r#"<Rule id="xccdf_example_rule_cve-{n}" selected="true" severity="high"><title xml:lang="en">CVE-2099-{n}: package-{n} earlier than 1:2.3-{n}</title><description xml:lang="en">Upgrade <html:code>package-{n}</html:code> &amp; what needs it.</description><reference href="https://security-tracker.debian.org/tracker/CVE-2099-{n}">CVE-2099-{n}</reference><ident system="http://cve.mitre.org">CVE-2099-{n}</ident><fix id="fix-{n}" system="urn:xccdf:fix:script:sh">apt-get install --only-upgrade package-{n}</fix><check system="http://oval.mitre.org/XMLSchema/oval-definitions-5"><check-content-ref href="oval.xml" name="oval:example:def:{n}"/></check></Rule>"#
        )?;
    }
    writeln!(
        out,
        r#"</Group></Benchmark></ds:component></ds:data-stream-collection></arf:content></arf:report-request></arf:report-requests><arf:reports><arf:report id="xccdf1"><arf:content><TestResult xmlns="http://checklists.nist.gov/xccdf/1.2" id="t">"#
    )?;
    for n in 0..RULES {
        let outcome = if n % 3 == 0 { "fail" } else { "pass" };
        writeln!(
            out,
            r##"<rule-result idref="xccdf_example_rule_cve-{n}" role="full" time="2026-11-23T17:35:28+00:00" severity="high" weight="1.000000"><result>{outcome}</result><ident system="http://cve.mitre.org">CVE-2099-{n}</ident><check system="http://oval.mitre.org/XMLSchema/oval-definitions-5"><check-content-ref name="oval:example:def:{n}" href="#oval0"/></check></rule-result>"##
        )?;
    }
    writeln!(
        out,
        r#"</TestResult></arf:content></arf:report><arf:report id="oval0"><arf:content><oval_results xmlns="http://oval.mitre.org/XMLSchema/oval-results-5"><oval_definitions xmlns="http://oval.mitre.org/XMLSchema/oval-definitions-5"><definitions>"#
    )?;
    definitions(out)?;
    writeln!(out, "</definitions></oval_definitions><results><system><tests>")?;
    for n in 0..RULES {
        writeln!(
            out,
            r#"<test test_id="oval:example:tst:{n}" version="1" check_existence="at_least_one_exists" check="all" result="true" state_operator="AND"><tested_item item_id="1{n}" result="true"/><tested_variable variable_id="oval:example:var:{n}">1:2.3-{n}</tested_variable></test><linux-sys:dpkginfo_item xmlns:linux-sys="http://oval.mitre.org/XMLSchema/oval-system-characteristics-5#linux" id="1{n}" status="exists"><linux-sys:name>package-{n}</linux-sys:name><linux-sys:arch>amd64</linux-sys:arch><linux-sys:epoch>1</linux-sys:epoch><linux-sys:release>{n}</linux-sys:release><linux-sys:version>2.3</linux-sys:version><linux-sys:evr datatype="evr_string">1:2.3-{n}</linux-sys:evr></linux-sys:dpkginfo_item>"#
        )?;
    }
    writeln!(out, "</tests></system></results></oval_results></arf:content></arf:report></arf:reports></arf:asset-report-collection>")?;
    out.flush()
}

fn definitions(out: &mut impl Write) -> io::Result<()> {
    for n in 0..RULES {
        writeln!(
            out,
            r#"<definition id="oval:example:def:{n}" version="1" class="vulnerability"><metadata><title>CVE-2099-{n} package-{n}</title><affected family="unix"><platform>Debian GNU/Linux 12</platform><product>package-{n}</product></affected><reference source="CVE" ref_id="CVE-2099-{n}" ref_url="https://security-tracker.debian.org/tracker/CVE-2099-{n}"/><description>package-{n} before 1:2.3-{n} lets remote attackers do things that its authors did not mean &amp; so on; the details are long and do not matter here.</description><advisory><severity>High</severity><cve href="https://security-tracker.debian.org/tracker/CVE-2099-{n}" cvss3="9.8/CVSS:3.1/AV:N/AC:L/PR:N/UI:N/S:U/C:H/I:H/A:H">CVE-2099-{n}</cve></advisory></metadata><criteria operator="AND"><criterion test_ref="oval:example:tst:{n}" comment="package-{n} DPKG is earlier than 1:2.3-{n}"/></criteria></definition>"#
        )?;
    }
    Ok(())
}
