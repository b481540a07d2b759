//! Layers as different tools store them.

use super::{Bench, Layer};
use crate::unpack::Limits;
use crate::unpack::limits::Refusal;
use flate2::Compression;
use flate2::write::GzEncoder;
use std::io::Write as _;
use tar::{EntryType, Header};

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

/// Zstandard with a window of `1 << log` bytes in its header, whatever the content needs.
fn zstd(bytes: &[u8], log: u32) -> Vec<u8> {
    let mut encoder = zstd::Encoder::new(Vec::new(), 1).unwrap();
    encoder.long_distance_matching(true).unwrap();
    encoder.window_log(log).unwrap();
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

fn sample() -> Vec<u8> {
    Layer::new().file("etc/os-release", "ID=alpine\n").file("large", &"0123456789".repeat(100_000)).tar()
}

fn unpacked(stored: &[u8], limits: Limits) -> Result<Vec<String>, Refusal> {
    let mut bench = Bench::limited(limits);
    bench.try_add(stored, &sample()).map(|()| bench.listing())
}

#[test]
fn gzip_of_several_members_is_read_whole_and_what_follows_it_does_not_matter() {
    let tar = sample();
    let whole = gzip(&tar);
    let members: Vec<u8> = tar.chunks(70_000).flat_map(gzip).collect();
    for (stored, what) in [
        (whole.clone(), "one member"),
        (members.clone(), "several members"),
        ([members.clone(), vec![0; 1000]].concat(), "zeros after it"),
        ([members, gzip(b"")].concat(), "an empty member"),
        ([whole.clone(), vec![0; 300_000], gzip(b"")].concat(), "zeros between members"),
        ([whole.clone(), b"garbage".to_vec()].concat(), "something else after it"),
    ] {
        assert_eq!(unpacked(&stored, Limits::default()).unwrap().len(), 3, "{what}");
    }
    assert!(matches!(unpacked(&whole[..whole.len() - 9], Limits::default()), Err(Refusal::Damaged(_))), "cut off");
    let mut broken = whole;
    let middle = broken.len() / 2;
    broken[middle] ^= 0xff;
    assert!(matches!(unpacked(&broken, Limits::default()), Err(Refusal::Damaged(_))));
}

#[test]
fn zstd_is_read_in_frames_with_others_to_be_skipped_and_large_windows() {
    let tar = sample();
    let skipped = [&0x184d_2a50_u32.to_le_bytes()[..], &4u32.to_le_bytes(), b"skip"].concat();
    let frames: Vec<u8> = tar.chunks(300_000).flat_map(|part| [zstd(part, 20), skipped.clone()].concat()).collect();
    for (stored, what) in [
        (zstd(&tar, 27), "128 MiB"),
        (zstd(&tar, 28), "256 MiB"),
        (zstd(&tar, 29), "512 MiB"),
        (frames.clone(), "frames"),
        ([skipped, frames].concat(), "one to be skipped first"),
        (zstd::bulk::compress(&tar, 3).unwrap(), "a frame that tells its size"),
    ] {
        assert_eq!(unpacked(&stored, Limits::default()).unwrap().len(), 3, "{what}");
    }
}

#[test]
fn a_window_that_is_too_large_is_said_to_be_that() {
    let refused = |log, limits| match unpacked(&zstd(&sample(), log), limits) {
        Err(Refusal::TooLarge(what)) => what,
        other => panic!("{other:?}"),
    };
    let endless = refused(30, Limits::default());
    assert!(endless.contains("512 MiB") && endless.contains("container runtimes"), "{endless}");
    let small = refused(29, Limits::default().within_memory(512 << 20));
    assert!(small.contains("256 MiB") && small.contains("smartstate.memory_limit"), "{small}");
    assert!(unpacked(&zstd(&sample(), 28), Limits::default().within_memory(512 << 20)).is_ok());
}

#[test]
fn compression_that_runtimes_do_not_take_is_named() {
    for (start, name) in [(&b"\xfd7zXZ\0\0\x04"[..], "xz"), (b"BZh91AY&SY", "bzip2"), (b"\x04\x22\x4d\x18zz", "lz4")] {
        match unpacked(start, Limits::default()) {
            Err(Refusal::Damaged(what)) => assert!(what.contains(name), "{what}"),
            other => panic!("{other:?}"),
        }
    }
}

/// An entry's header alone, with whatever size it claims.
fn header(kind: u8, path: &[u8], size: &[u8; 12], signed: bool) -> Vec<u8> {
    let mut header = Header::new_gnu();
    header.set_mode(0o644);
    header.set_uid(0);
    header.set_gid(0);
    header.set_mtime(0);
    let old = header.as_old_mut();
    old.name[..path.len()].copy_from_slice(path);
    old.linkflag[0] = kind;
    old.size = *size;
    header.set_cksum();
    if signed {
        let high = i64::try_from(path.iter().filter(|byte| **byte >= 0x80).count()).unwrap();
        let sum = i64::from(header.cksum().unwrap()) - 256 * high;
        header.as_old_mut().cksum.copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
    }
    header.as_bytes().to_vec()
}

fn read(blocks: &[Vec<u8>]) -> Vec<String> {
    let tar = blocks.concat();
    let mut bench = Bench::new();
    bench.try_add(&gzip(&tar), &tar).unwrap();
    bench.listing()
}

#[test]
fn headers_are_read_as_the_tools_of_decades_wrote_them() {
    let content = |text: &str| [text.as_bytes(), &vec![0; 512 - text.len()]].concat();
    let after = || [header(b'0', b"after", b"00000000001\0", false), content("x")].concat();
    // Links, folders and devices have no content, whatever size they claim.
    for kind in *b"123456" {
        let blocks = [header(kind, b"odd", b"00000001000\0", false), after()];
        assert!(read(&blocks).iter().any(|path| path == "after"), "{}", char::from(kind));
    }
    assert_eq!(read(&[header(0, b"folder/", b"00000001000\0", false), after()]), ["after", "folder/"], "a folder of old archives");
    let binary = [0x80, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 3];
    assert_eq!(read(&[header(b'0', b"binary", &binary, false), content("abc"), after()]), ["after", "binary"]);
    assert_eq!(read(&[header(b'0', b"spaces", b"         3 \0", false), content("abc"), after()]), ["after", "spaces"]);
    assert_eq!(read(&[header(b'0', "ä".as_bytes(), b"00000000003\0", true), content("abc"), after()]), ["after", "ä"], "bytes summed as signed ones");
    // No end of archive, one block of zeros, and none at all.
    assert_eq!(read(&[after(), vec![0; 512]]), ["after"]);
    assert!(read(&[]).is_empty());
    let blocks = [header(b'0', b"cut", b"00000000003\0", false), b"abc".to_vec()];
    assert_eq!(read(&blocks), ["cut"], "no padding at the end");
}

#[test]
fn global_headers_change_nothing_and_large_ones_of_an_entry_are_said() {
    let record = |key: &str, value: &str| {
        let rest = format!(" {key}={value}\n");
        let length = (1..).find(|length: &usize| length.to_string().len() + rest.len() == *length).unwrap();
        format!("{length}{rest}")
    };
    let tar = Layer::new()
        .entry(EntryType::XGlobalHeader, "pax_global_header", "", record("path", "wrong").as_bytes(), 0o644, (0, 0))
        .entry(EntryType::XHeader, "x", "", record("path", "dir/ünïcode").as_bytes(), 0o644, (0, 0))
        .file("short", "1")
        .file("plain", "2")
        .tar();
    assert_eq!(read(&[tar]), ["dir/", "dir/ünïcode", "plain"]);
    let many: String = (0..2000).map(|n| record(&format!("SCHILY.xattr.user.{n}"), &"v".repeat(400))).collect();
    assert_eq!(read(&[Layer::new().entry(EntryType::XHeader, "x", "", many.as_bytes(), 0o644, (0, 0)).file("a", "1").tar()]), ["a"]);
    let huge = Layer::new().entry(EntryType::XHeader, "x", "", record("comment", &"v".repeat(2 << 20)).as_bytes(), 0o644, (0, 0)).file("a", "1").tar();
    match Bench::new().try_add(&huge, &huge) {
        Err(Refusal::Damaged(what)) => assert!(what.contains("1 MiB"), "{what}"),
        other => panic!("{other:?}"),
    }
}
