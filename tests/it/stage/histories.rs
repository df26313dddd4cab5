//! Random histories of a file tree: whatever was staged in between, wholly or in part, the restore
//! script finds what the backup script left, byte for byte, with every mode, owner and time.

use proptest::prelude::*;
use serde_json::json;

use super::{DATA, INSTANCE, backup, restored, scene, shell, stage};

/// Does to the tree what it is told, a line for each change; what is impossible is left out, and so is a
/// pipe that would wait for its reader.
const CHANGE: &str = r#"
use strict;
chdir '/var/vcap/store/data' or die;
while (my $line = <STDIN>) {
  my ($what, $a, $b, $n) = split ' ', $line;
  ($a, $b) = map { pack 'H*', $_ } $a, $b;
  my $dir = sub { my $p = ''; for (split m{/}, $_[0] =~ s{/?[^/]*$}{}r) { $p .= "$_/"; mkdir $p } };
  if ($what eq 'write') { $dir->($a); if (!-p $a && open my $f, '>', $a) { print $f pack('N', $n) x ($n % 5000) } }
  elsif ($what eq 'sneak') { my @t = (stat $a)[8, 9]; if (-f $a && !-l $a && open my $f, '+<', $a) { print $f 'q'; close $f; utime @t, $a } }
  elsif ($what eq 'rename') { $dir->($b); rename $a, $b }
  elsif ($what eq 'delete') { system 'rm', '-rf', '--', "./$a" }
  elsif ($what eq 'directory') { $dir->("$a/") }
  elsif ($what eq 'link') { $dir->($b); symlink $n % 2 ? "../$a" : "/etc/$a", $b }
  elsif ($what eq 'hard') { $dir->($b); link $a, $b }
  elsif ($what eq 'pipe') { $dir->($a); system 'mkfifo', "./$a" if !-e $a && !-l $a }
  elsif ($what eq 'mode') { chmod $n % 010000, $a if -e $a && !-l $a }
  elsif ($what eq 'owner') { chown $n % 70000, $n % 60001, $a if -e $a && !-l $a }
  elsif ($what eq 'time') { utime $n * 3, $n * 3, $a if -e $a && !-l $a }
  elsif ($what eq 'many') { mkdir "many$n"; for my $i (0 .. $n % 900) { open my $f, '>', "many$n/$i" or next; print $f $i } }
}
"#;

/// Names that have gone wrong elsewhere, some of them each other's directories.
fn names() -> Vec<Vec<u8>> {
    let mut names: Vec<Vec<u8>> = [
        &b"a"[..],
        b"a-b",
        b"a-b/c",
        b"a.b/c",
        b"a/b",
        b"a/b/c",
        b"x y ",
        b" z",
        b"new\nline",
        b"quote'\"",
        b"back\\1slash\\n",
        b"\xff\xfe/\x01",
        b"-n/--version",
        b"co:lon:1:2:3:4:5:6:7",
        b"*/?[a]",
        b"~/$HOME",
    ]
    .iter()
    .map(|name| name.to_vec())
    .collect();
    names.push([b'h'; 99].to_vec());
    names.push([&[b'l'; 200][..], b"/", &[b'm'; 200], b"/n"].concat());
    names
}

fn change() -> impl Strategy<Value = String> {
    let names = names();
    let kinds = [
        "write",
        "write",
        "write",
        "write",
        "sneak",
        "rename",
        "rename",
        "delete",
        "directory",
        "link",
        "hard",
        "pipe",
        "mode",
        "owner",
        "time",
        "many",
    ];
    let place = 0..names.len();
    (0..kinds.len(), place.clone(), place, 1_u32..600_000_000).prop_map(move |(kind, a, b, n)| {
        let n = if kinds[kind] == "many" { n % 2000 } else { n };
        format!(
            "{} {} {} {n}\n",
            kinds[kind],
            hex::encode(&names[a]),
            hex::encode(&names[b])
        )
    })
}

/// What follows a backup.
#[derive(Debug, Clone, Copy)]
enum Then {
    Nothing,
    Stage,
    /// A run that is cut off in this part.
    Cut(usize),
    /// The backup that is so many older, if there is one.
    Restore(usize),
}

const CUTS: [&str; 3] = [
    "gzip -dc .* perl",
    "lifeboat-stage.*--extract",
    "gzip -dc .* tar",
];

fn then() -> impl Strategy<Value = Then> {
    prop_oneof![
        1 => Just(Then::Nothing),
        3 => Just(Then::Stage),
        2 => (0..CUTS.len()).prop_map(Then::Cut),
        2 => (0_usize..2).prop_map(Then::Restore),
    ]
}

/// How many histories are tried; more on demand, see CONTRIBUTING.md.
fn cases() -> u32 {
    let wanted = std::env::var("LIFEBOAT_HISTORIES").ok();
    wanted.map_or(2, |number| number.parse().unwrap())
}

#[test]
fn whatever_was_staged_a_restore_finds_what_a_backup_left() {
    let config = ProptestConfig {
        cases: cases(),
        max_shrink_iters: 10,
        failure_persistence: None,
        ..ProptestConfig::default()
    };
    let step = (proptest::collection::vec(change(), 1..30), then());
    let history = proptest::collection::vec(step, 3..5);
    let mut runner = proptest::test_runner::TestRunner::new(config);
    let result = runner.run(&history, |steps| {
        try_history(&steps);
        Ok(())
    });
    result.unwrap();
}

fn try_history(steps: &[(Vec<String>, Then)]) {
    let scene = scene();
    shell(
        &scene,
        &format!("rm -rf {DATA}/* && echo zero >{DATA}/zero"),
    );
    let mut backups = Vec::new();
    for (changes, then) in steps {
        let lines = changes.concat();
        shell(
            &scene,
            &format!(
                "perl -e '{}' <<'EOF'\n{lines}EOF\n",
                CHANGE.replace('\'', r"'\''")
            ),
        );
        backups.push(backup(&scene));
        let (newest, _) = backups.last().unwrap();
        match then {
            Then::Nothing => {}
            Then::Stage => drop(stage(&scene, &[newest]).ok()),
            Then::Cut(part) => {
                scene
                    .foundation
                    .ask(json!({"do": "command-fault", "instance": INSTANCE,
                    "kind": "cut_after", "seconds": 0.03, "pattern": CUTS[*part], "times": 1}));
                drop(stage(&scene, &[newest]));
                scene
                    .foundation
                    .ask(json!({"do": "clear-command-faults", "instance": INSTANCE}));
            }
            Then::Restore(older) => {
                let (id, left) = &backups[backups.len().saturating_sub(1 + older)];
                restored(&scene, id, left);
            }
        }
    }
    stage(&scene, &[&backups[0].0]).ok();
    for (id, left) in [backups.last().unwrap(), &backups[0]] {
        restored(&scene, id, left);
    }
}
