//! Files in containers.

use std::io::Cursor;

use zip::ZipWriter;
use zip::write::SimpleFileOptions;

use super::*;
use crate::dialect::Charset;

const TEXT: &[u8] = b"id,n\n1,a\n2,b\n";

fn zip(members: &[(&str, &[u8])]) -> Vec<u8> {
    let mut writer = ZipWriter::new(Cursor::new(Vec::new()));
    for (name, content) in members {
        writer.start_file(*name, SimpleFileOptions::default()).unwrap();
        writer.write_all(content).unwrap();
    }
    writer.finish().unwrap().into_inner()
}

fn snappy(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = snap::write::FrameEncoder::new(Vec::new());
    encoder.write_all(bytes).unwrap();
    encoder.into_inner().unwrap()
}

fn bzip2(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = ::bzip2::write::BzEncoder::new(Vec::new(), ::bzip2::Compression::best());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

fn zstd(bytes: &[u8]) -> Vec<u8> {
    ruzstd::encoding::compress_to_vec(bytes, ruzstd::encoding::CompressionLevel::Fastest)
}

fn lz4(bytes: &[u8]) -> Vec<u8> {
    let form = lz4_flex::frame::FrameInfo::new().content_checksum(true);
    let mut encoder = lz4_flex::frame::FrameEncoder::with_frame_info(form, Vec::new());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

fn zlib(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::ZlibEncoder::new(Vec::new(), flate2::Compression::default());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

fn all(bytes: &[u8]) -> [(&'static str, Vec<u8>); 7] {
    let zip = zip(&[("x.csv", bytes)]);
    let named = ["gzip", "bzip2", "zstd", "snappy", "lz4", "zlib", "zip"];
    let made = [gzip(bytes), bzip2(bytes), zstd(bytes), snappy(bytes), lz4(bytes), zlib(bytes), zip];
    let mut made = made.into_iter();
    named.map(|name| (name, made.next().unwrap()))
}

#[test]
fn every_container_is_known_by_its_content() {
    for (name, bytes) in all(TEXT) {
        let read = read(&bytes);
        assert_eq!(read.cells(), [["1", "a"], ["2", "b"]], "{name}");
        assert!(read.facts().compressed && read.facts().bytes == TEXT.len() as u64);
        assert!(read.dialect.unwrap().containers[0].starts_with(name));
    }
}

#[test]
fn members_follow_each_other_and_layers_come_off() {
    let two = |pack: fn(&[u8]) -> Vec<u8>| [pack(b"id,n\n1,a\n"), pack(b"2,b\n")].concat();
    for bytes in [two(gzip), two(bzip2), two(zstd), two(snappy), two(lz4), two(zlib)] {
        assert_eq!(read(bytes).cells(), [["1", "a"], ["2", "b"]]);
    }
    let skippable = [&b"\x53\x2A\x4D\x18\x03\0\0\0abc"[..], &zstd(TEXT)].concat();
    assert_eq!(read(skippable).facts().records, 2);
    let skippable = [&lz4(b"id,n\n1,a\n")[..], b"\x53\x2A\x4D\x18\x03\0\0\0abc", &lz4(b"2,b\n")].concat();
    assert_eq!(read(&skippable).facts().records, 2);
    assert!(read([&skippable[..], b"junk"].concat()).fault().contains("something else follows a frame"));
    let layers = gzip(&zip(&[("a/x.csv.bz2", &bzip2(TEXT))]));
    assert_eq!(read(layers).dialect.unwrap().containers, ["gzip", "zip (a/x.csv.bz2)", "bzip2"]);
    let deep = (0..5).fold(TEXT.to_vec(), |bytes, _| gzip(&bytes));
    insta::assert_snapshot!(read(deep).fault(), @"compression-error: The file is packed more than 4 times over. Pack it once.");
}

/// Letters of one byte may look like the first two bytes of a stream.
#[test]
fn a_text_that_begins_like_a_container_is_a_text() {
    let setup = Setup { choice: DialectChoice { charset: Some(Charset::WINDOWS_1252), ..DialectChoice::default() }, ..Setup::default() };
    for head in [&b"x\x9Cuf,n\n1,a\n"[..], b"x\xDAbeda,n\n1,a\n"] {
        assert_eq!(setup.read(head).cells(), [["1", "a"]]);
    }
}

#[test]
fn a_zip_gives_its_one_file_or_the_named_one() {
    let mac = zip(&[("x.csv", TEXT), ("__MACOSX/._x.csv", b"junk"), (".DS_Store", b"junk")]);
    assert_eq!(read(mac).facts().records, 2);
    let several = zip(&[("points_1.csv", TEXT), ("tiers.csv", b"id\n1\n")]);
    let named = |member: &str| {
        let choice = DialectChoice { member: Some(member.to_owned()), ..DialectChoice::default() };
        Setup { choice, ..Setup::default() }.read(&several)
    };
    assert_eq!(named("points_*.csv").facts().records, 2);
    let faults = [read(&several).fault(), named("x*").fault(), named("*.csv").fault(), read(zip(&[])).fault()];
    insta::assert_snapshot!(faults.join("\n"), @r#"
    compression-error: The archive holds 2 files: `points_1.csv`, `tiers.csv`. Say which is meant by dialect.member = "NAME", a glob over names in the archive.
    compression-error: The archive holds no file `x*`, but `points_1.csv`, `tiers.csv`. Correct dialect.member; it is a glob over names in the archive.
    compression-error: The archive holds 2 files: `points_1.csv`, `tiers.csv`. Say which is meant by dialect.member = "NAME", a glob over names in the archive.
    compression-error: The archive holds no file. Deliver it again.
    "#);
}

#[test]
fn a_container_cut_short_anywhere_fails() {
    let text: Vec<u8> =
        [&b"id,n\n"[..], &(0..2000_u32).flat_map(|n| format!("{n},{}\n", n.wrapping_mul(2_654_435_761)).into_bytes()).collect::<Vec<u8>>()]
            .concat();
    for (name, bytes) in all(&text) {
        // Without its last eight bytes lz4 has all its blocks and no end.
        for left in [bytes.len() - 1, bytes.len() - 8, bytes.len() / 2, 30] {
            let read = read(&bytes[..left]);
            assert_eq!(read.code(), Code::CompressionError, "{name} cut to {left}: {}", read.fault());
        }
    }
}

#[test]
fn a_container_with_a_wrong_byte_fails() {
    for (name, bytes) in all(TEXT) {
        if name == "zstd" {
            continue;
        }
        let mut broken = bytes.clone();
        let at = if name == "zip" { 40 } else { bytes.len() - 6 };
        broken[at] ^= 0x55;
        assert!(read(&broken).end.is_err(), "{name}");
    }
}

#[test]
fn bombs_are_refused_in_every_container() {
    let zeros = [b"id\n".to_vec(), vec![b'a'; 1 << 20]].concat();
    let setup = Setup { limits: Limits { expansion: 10, record: 64 << 20, ..Limits::default() }, ..Setup::default() };
    for (name, bytes) in all(&zeros) {
        // Members that follow each other: a bomb that is quick to make.
        let bytes = if name == "zip" { zip(&[("x.csv", &zeros.repeat(11))]) } else { bytes.repeat(11) };
        let read = setup.read(&bytes);
        assert_eq!(read.code(), Code::CompressionError, "{name}");
        assert!(read.fault().contains("expands to more than 10 bytes"), "{name}: {}", read.fault());
    }
    let zeros = zeros.repeat(11);
    let nested = gzip(&gzip(&zeros));
    assert_eq!(setup.read(&nested).code(), Code::CompressionError);
    let small = Setup { limits: Limits { file: 1000, ..Limits::default() }, ..Setup::default() };
    assert!(small.read(&gzip(&zeros)).fault().contains("decompresses to more than 1000 bytes"));
}

#[test]
fn what_is_known_and_not_read_says_what_it_is() {
    let faults: Vec<String> = [
        &b"\x02\x21\x4C\x18aaaa"[..],
        b"\xFD7zXZ\0aaaa",
        b"7z\xBC\xAF\x27\x1Caaaa",
        b"\xD0\xCF\x11\xE0\xA1\xB1\x1A\xE1aaaa",
        b"PAR1aaaa",
        b"Obj\x01aaaa",
        b"%PDF-1.7\n",
    ]
    .iter()
    .map(|bytes| read(bytes).fault())
    .collect();
    insta::assert_snapshot!(faults.join("\n"));
}
