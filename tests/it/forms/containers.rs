//! Containers, made by other programs than ours.

use super::{correct, piped, plan, python};
use crate::rig::promises::check_promises;

const TEXT: &str = "id,points,tier\nC-1,10,gold\nC-2,x,silver\n";

/// A zip as Python writes it: `names` are members, each with the text.
fn zip(names: &[&str], text: &str) -> Vec<u8> {
    let script = format!(
        "import sys, io, zipfile\ndata = sys.stdin.buffer.read()\nout = io.BytesIO()\nz = zipfile.ZipFile(out, 'w', zipfile.ZIP_DEFLATED)\n\
         for name in {names:?}:\n    z.writestr(name, data if name.endswith('.csv') else b'junk')\nz.close()\nsys.stdout.buffer.write(out.getvalue())"
    );
    python(&script, text.as_bytes())
}

#[test]
fn every_container_is_taken_off_whatever_its_name() {
    let bzip2 = python("import sys, bz2; sys.stdout.buffer.write(bz2.compress(sys.stdin.buffer.read()))", TEXT.as_bytes());
    let zstd = piped("zstd", &["-q", "-c", "--check"], TEXT.as_bytes());
    let lz4 = piped("lz4", &["-q", "-c", "-"], TEXT.as_bytes());
    let zlib = python("import sys, zlib; sys.stdout.buffer.write(zlib.compress(sys.stdin.buffer.read()))", TEXT.as_bytes());
    let both = python("import sys, gzip; sys.stdout.buffer.write(gzip.compress(sys.stdin.buffer.read()))", &zip(&["x.csv"], TEXT));
    for (bytes, containers) in [
        (zip(&["loyalty.csv", "__MACOSX/._loyalty.csv.x"], TEXT), r#"["zip (loyalty.csv)"]"#),
        (bzip2, r#"["bzip2"]"#),
        (zstd, r#"["zstd"]"#),
        (lz4, r#"["lz4"]"#),
        (zlib, r#"["zlib"]"#),
        (both, r#"["gzip","zip (x.csv)"]"#),
    ] {
        let harbour = plan().start();
        harbour.deliver("points.dat", &bytes);
        harbour.once().exits(1);
        assert_eq!(harbour.points("C-1"), 10.0);
        assert_eq!(harbour.report("points.dat")["file"]["dialect"]["containers"].to_string(), containers);
        assert_eq!(harbour.read(".processed/points.dat"), bytes, "the delivered bytes are what is kept");
        correct(&harbour, "points.dat", b",x,", b",11,");
        harbour.once().exits(0);
        assert_eq!(harbour.points("C-2"), 11.0);
        check_promises(&harbour);
    }
}

#[test]
fn a_named_member_is_taken_and_several_without_a_name_are_told() {
    let archive = zip(&["points_1.csv", "other.csv"], "id,points\nC-1,10\n");
    let harbour = plan().start();
    harbour.deliver("points.zip", &archive);
    harbour.once().exits(65);
    let fault = harbour.report("points")["fault"].clone();
    assert_eq!(fault["code"], "compression-error");
    assert!(fault["message"].as_str().unwrap().contains("`points_1.csv`, `other.csv`"), "{fault}");
    check_promises(&harbour);
    let harbour = plan().feed("dialect", r#"{ member = "points_*" }"#).start();
    harbour.deliver("points.zip", &archive);
    harbour.once().exits(0);
    assert_eq!(harbour.points("C-1"), 10.0);
    check_promises(&harbour);
}

/// E13: whatever was readable before, nothing of it is used.
#[test]
fn containers_cut_short_fail_the_file() {
    let long: String = (0..3000).map(|n| format!("C-1,{n},{:x}\n", n * 7919)).collect();
    let text = format!("id,points,tier\n{long}");
    for bytes in [
        zip(&["x.csv"], &text),
        piped("zstd", &["-q", "-c"], text.as_bytes()),
        piped("bzip2", &["-c"], text.as_bytes()),
        piped("lz4", &["-q", "-c", "-"], text.as_bytes()),
    ] {
        let harbour = plan().start();
        harbour.deliver("points.bin", &bytes[..bytes.len() - 20]);
        harbour.once().exits(65);
        assert_eq!(harbour.report("points.bin")["fault"]["code"], "compression-error");
        assert_eq!(harbour.sandbox.requests().total(), 0);
        check_promises(&harbour);
    }
}
