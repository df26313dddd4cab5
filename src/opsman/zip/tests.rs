use super::*;

/// What Python's `zipfile` makes, to a pipe or a file, wide or not.
fn python(script: &str) -> Vec<u8> {
    let made = std::process::Command::new("python3")
        .args([
            "-c",
            &format!(
                "
import sys, zipfile, io
class Pipe:
    def __init__(self): self.out = io.BytesIO()
    def write(self, data): return self.out.write(data)
    def flush(self): pass
{script}
"
            ),
        ])
        .output()
        .unwrap();
    assert!(
        made.status.success(),
        "{}",
        String::from_utf8_lossy(&made.stderr)
    );
    made.stdout
}

const PIPED: &str = "
p = Pipe()
with zipfile.ZipFile(p, 'w', zipfile.ZIP_DEFLATED) as z:
    z.writestr('installation.yml', 'sealed: ' + 'abc' * 1000)
    z.writestr('metadata/padding', bytes(range(256)) * 20)
    z.writestr('empty', '')
    z.comment = b'a comment'
sys.stdout.buffer.write(p.out.getvalue())
";

fn check(zip: &[u8], piece: usize) -> Result<Checked, Broken> {
    let mut checker = Checker::new();
    for piece in zip.chunks(piece) {
        checker.take(piece)?;
    }
    checker.finish()
}

#[test]
fn whole_zips_of_every_kind_pass_in_pieces_of_any_size() {
    let file = "
f = io.BytesIO()
with zipfile.ZipFile(f, 'w', zipfile.ZIP_STORED) as z:
    z.writestr('a/', '')
    z.writestr('installation.yml', 'x' * 70000)
    with z.open('wide', 'w', force_zip64=True) as w: w.write(b'y' * 100)
sys.stdout.buffer.write(f.getvalue())
";
    let wide = "
p = Pipe()
with zipfile.ZipFile(p, 'w', zipfile.ZIP_DEFLATED) as z:
    with z.open('installation.yml', 'w', force_zip64=True) as w: w.write(b'y' * 100000)
    z.writestr('b', 'c')
sys.stdout.buffer.write(p.out.getvalue())
";
    for (script, entries) in [(PIPED, 3), (file, 3), (wide, 2)] {
        let zip = python(script);
        for piece in [1, 7, 4096, zip.len()] {
            let checked = check(&zip, piece).unwrap();
            assert_eq!(checked.entries, entries, "{script}");
            assert_eq!(checked.bytes, zip.len() as u64);
        }
    }
}

#[test]
fn a_zip_cut_anywhere_is_not_whole() {
    let zip = python(PIPED);
    for end in 0..zip.len() {
        assert!(
            check(&zip[..end], 512).is_err(),
            "cut at {end} of {}",
            zip.len()
        );
    }
    let mut more = zip.clone();
    more.push(0);
    assert_eq!(
        check(&more, 512).unwrap_err().to_string(),
        "something follows its end"
    );
}

#[test]
fn a_flipped_bit_is_noticed_wherever_it_counts() {
    let zip = python(PIPED);
    // Times, versions and attributes of an entry are not covered by any sum.
    let mut unnoticed = 0;
    for at in 0..zip.len() {
        let mut bad = zip.clone();
        bad[at] ^= 0x10;
        unnoticed += usize::from(check(&bad, 512).is_ok());
    }
    assert!(unnoticed < 200, "{unnoticed} of {} bytes", zip.len());
}

#[test]
fn what_is_no_installation_is_refused() {
    let other = PIPED.replace("installation.yml", "other.yml");
    let said = check(&python(&other), 512).unwrap_err().to_string();
    assert_eq!(said, "it has no entry installation.yml");
    let said = check(b"<html>bad gateway</html>", 512)
        .unwrap_err()
        .to_string();
    assert_eq!(said, "it does not begin like one");
    assert_eq!(
        check(b"", 1).unwrap_err().to_string(),
        "it ends before its directory"
    );
}
