//! dpkg's status file, distroless images' pieces of it, and os-release, with a zero byte between them.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    let mut parts = bytes.splitn(3, |byte| *byte == 0);
    let [status, piece, release] = std::array::from_fn(|_| parts.next().unwrap_or_default());
    fuzz::read_image(&[("var/lib/dpkg/status", status), ("var/lib/dpkg/status.d/piece", piece), ("etc/os-release", release)]);
});
