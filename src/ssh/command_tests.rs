use proptest::prelude::*;

use super::*;

/// What a real shell makes of the line's words, each ended by NUL.
fn through(shell: &str, words: &[Vec<u8>]) -> Vec<Vec<u8>> {
    let mut all = vec![b"printf".to_vec(), b"%s\\0".to_vec()];
    all.extend_from_slice(words);
    let line = render(&Command::as_root("test", all).as_login_user()).unwrap();
    let output = std::process::Command::new(shell)
        .args(["-c", &line])
        .output()
        .unwrap();
    assert!(output.status.success(), "{line:?}: {output:?}");
    let mut read: Vec<Vec<u8>> = output
        .stdout
        .split(|byte| *byte == 0)
        .map(<[u8]>::to_vec)
        .collect();
    read.pop();
    read
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(96))]
    #[test]
    fn any_words_survive_a_real_shell(
        words in prop::collection::vec(prop::collection::vec(1u8..=255, 0..40), 1..5),
    ) {
        prop_assert_eq!(through("sh", &words), words.clone());
        prop_assert_eq!(through("bash", &words), words);
    }
}

#[test]
fn the_hard_words_survive_a_real_shell() {
    let words: Vec<Vec<u8>> = [
        &b"it's"[..],
        b"$(touch /tmp/x)`id`",
        b"new\nline\n",
        b"\xff\xfe end\n",
        b"caf\xc3\xa9\xc3",
        b"\\",
        b"~",
        b"*",
        b"-n",
        b"!x",
        b"",
    ]
    .iter()
    .map(|word| word.to_vec())
    .collect();
    assert_eq!(through("sh", &words), words);
    assert_eq!(through("bash", &words), words);
}

#[test]
fn root_commands_go_through_sudo_with_their_variables() {
    let command = Command::as_root("backup", ["/var/vcap/jobs/a b/bin/bbr/backup"])
        .with("ARTIFACT_DIRECTORY", "/x y/")
        .with("N", "1");
    assert_eq!(
        render(&command).unwrap(),
        "sudo -n ARTIFACT_DIRECTORY='/x y/' N=1 '/var/vcap/jobs/a b/bin/bbr/backup'"
    );
    assert_eq!(
        render(&command.as_login_user()).unwrap(),
        "env ARTIFACT_DIRECTORY='/x y/' N=1 '/var/vcap/jobs/a b/bin/bbr/backup'"
    );
}

#[test]
fn a_first_word_is_never_taken_for_an_option_or_a_variable() {
    let line = render(&Command::as_root("odd", ["-e", "x"])).unwrap();
    assert_eq!(line, "sudo -n sh -c 'exec \"$0\" \"$@\"' -e x");
}

#[test]
fn what_no_line_can_carry_is_refused() {
    let render = |words: &[&str]| render(&Command::as_root("x", words.iter().copied()));
    assert_eq!(render(&[]), Err(Unsendable::Empty));
    assert_eq!(render(&["a\0b"]), Err(Unsendable::Nul));
    assert!(matches!(
        render(&[&"x".repeat(40_000)]),
        Err(Unsendable::TooLong(_))
    ));
    let named = Command::as_root("x", ["true"]).with("A B", "1");
    assert_eq!(super::render(&named), Err(Unsendable::Name("A B".into())));
}

#[test]
fn a_line_reports_its_status_once_it_has_run_to_its_end() {
    for (line, status) in [
        ("true", 0),
        ("sh -c 'exit 7'", 7),
        ("sh -c 'kill -9 $$'", 137),
        ("sh -c 'echo said >&2; exec 2>&-; exit 3'", 3),
    ] {
        let completion = Completion::random().unwrap();
        let output = std::process::Command::new("sh")
            .args(["-c", &completion.wrap(line)])
            .output()
            .unwrap();
        assert_eq!(output.status.code(), Some(status));
        // However the bytes are cut into reads.
        for size in [1, 3, 1000] {
            let mut tail = Tail::new(Some(&completion));
            for piece in output.stderr.chunks(size) {
                tail.push(piece);
            }
            assert_eq!(tail.status(), Some(status), "{line}");
            assert!(!tail.text().contains(&completion.nonce));
        }
    }
}

#[test]
fn a_tail_keeps_the_end_and_finds_the_mark_in_a_flood() {
    let completion = Completion::random().unwrap();
    let mut tail = Tail::new(Some(&completion));
    let flood = "x".repeat(50_000);
    tail.push(flood.as_bytes());
    tail.push(format!("last\n{} 5\n", completion.nonce).as_bytes());
    tail.push(flood.as_bytes());
    assert_eq!(tail.status(), Some(5));
    assert_eq!(tail.text().len(), KEPT);
    tail.push(b"\n the end \n");
    assert!(tail.text().ends_with("the end"));
}
