//! What README tells users and administrators to type is typed here, and answered as it says.
//!
//! In its `console` blocks a line after `$ ` is a command and the lines below are what it prints; `…` stands for
//! anything. What is told elsewhere, between back-quotes or in other blocks, is done by a test that `ELSEWHERE` names.

use std::path::Path;
use std::time::Duration;

use crate::harness::{Laptop, Product, eventually, is_installed, public, skip_unless, within};

const README: &str = include_str!("../../README.md");
const REFERENCE: &str = include_str!("../../k8s/README.md");

/// Commands that are no examples, and where they are run instead: a file, and what stands in it.
const ELSEWHERE: &[(&str, &str, &str)] = &[
    ("ssh alice@bastion", "tests/e2e/interactive.rs", "fn the_shell_is_a_login_shell"),
    ("ssh -t alice@bastion shells", "tests/e2e/shells.rs", "fn a_terminal_is_asked_which_shell_it_wants"),
    (
        "ssh -o SetEnv=BASTION_PERSIST=0 alice@bastion",
        "tests/e2e/shells.rs",
        "fn whoever_wants_none_that_lasts_has_none",
    ),
    (
        "ssh -t alice@bastion devctl create",
        "tests/e2e/devctl/making.rs",
        "fn a_terminal_is_asked_for_what_was_not_said",
    ),
    ("devctl list --shared", "tests/e2e/sharing.rs", "fn what_is_shared_with_her_is_listed"),
    ("ssh bob+dev.alice@bastion", "tests/e2e/sharing.rs", "fn a_guest_works_in_it_as_himself_until_it_is_taken_back"),
    (
        "ssh -J bob@bastion dev.alice",
        "tests/e2e/sharing.rs",
        "fn a_guest_works_in_it_as_himself_until_it_is_taken_back",
    ),
    ("ssh -t bob+dev.alice@bastion shells", "tests/e2e/sharing.rs", "fn who_may_only_look_does_nothing_else"),
    (
        "ssh alice+training@bastion",
        "tests/e2e/devservers.rs",
        "fn a_devserver_has_its_variables_its_shared_memory_and_its_volumes",
    ),
    (
        "devctl exec --context CONTEXT dev.alice -- ps",
        "tests/e2e/devctl_laptop/cluster.rs",
        "fn programs_run_with_their_input_output_and_exit_status",
    ),
    ("ssh -J alice@bastion NAME.alice", "tests/e2e/jump.rs", "fn the_line_that_is_told_is_all_that_ssh_needs"),
    ("devctl users list -o wide", "tests/e2e/devctl/users.rs", "users list -o wide"),
    (
        "devctl update NAME --team-volumes=false",
        "tests/e2e/team_volume.rs",
        "devctl update train --team-volumes={wish}",
    ),
    ("ssh-keygen -lf target/deploy/known_hosts", "tests/e2e/deploy.rs", r#"["-lf", "target/deploy/known_hosts"]"#),
    ("ssh-keygen -k", "tests/e2e/certificates.rs", "fn a_revocation_list_of_ssh_keygen_holds"),
    ("cargo install --path . --bin devctl", "scripts/check", "--path . --bin devctl"),
    (
        "scripts/deploy --registry registry.example.org/team/bastion --user alice=alice.pub",
        "tests/e2e/deploy.rs",
        "fn an_image_goes_by_a_registry",
    ),
    ("scripts/deploy --overlay FOLDER", "tests/e2e/deploy.rs", "fn an_image_goes_by_a_registry"),
    ("kubectl apply --server-side -k k8s/crds", "scripts/deploy", "--force-conflicts -k k8s/crds"),
    (
        "kubectl wait --for=condition=Established -f k8s/crds/crds.yaml",
        "scripts/deploy",
        "kubectl wait --for=condition=Established",
    ),
    ("kubectl apply --server-side -k FOLDER", "scripts/deploy", "--force-conflicts -k \"$overlay\""),
];

/// What a command begins with, or `scripts/`.
const PROGRAMS: &str = "ssh scp sftp rsync ssh-keygen ssh-keyscan devctl kubectl cargo bastion docker git eval";

#[test]
fn every_command_is_run() {
    let told = [chapter("## For users"), chapter("## For administrators"), REFERENCE].map(commands).concat();
    let examples = ["## For users", "## For administrators"].map(|chapter| examples(chapter, &[]));
    let is_example = |command: &str| examples.iter().flatten().any(|example| example.command == command);
    let unclaimed: Vec<&String> = told
        .iter()
        .filter(|told| !is_example(told) && !ELSEWHERE.iter().any(|(command, ..)| command == told))
        .collect();
    assert!(unclaimed.is_empty(), "make these examples, or name the tests that run them: {unclaimed:?}");
    for (command, file, words) in ELSEWHERE {
        assert!(told.iter().any(|told| told == command), "no chapter tells `{command}`");
        let text = std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(file)).expect("it is there");
        assert!(text.contains(words), "`{command}` is run by {file}, which has no `{words}`");
    }
}

/// What a text tells to type, beside the examples.
fn commands(text: &str) -> Vec<String> {
    let is_command = |words: &String| {
        let first = words.split_once(' ').map_or("", |(first, _)| first);
        first.starts_with("scripts/") || PROGRAMS.split(' ').any(|program| program == first)
    };
    let mut told: Vec<String> = Vec::new();
    // Every other piece is a block, and every other piece of what is none is between back-quotes.
    for (n, piece) in text.split("```").enumerate() {
        match (n % 2, piece.split_once('\n')) {
            (1, Some(("", block))) => told.extend(block.lines().map(str::to_owned)),
            (1, _) => {}
            _ => told.extend(piece.split('`').skip(1).step_by(2).map(|words| words.replace('\n', " "))),
        }
    }
    told.retain(is_command);
    told
}

#[test]
fn commands_are_found_wherever_they_are_told() {
    let text = "Say `ssh a`, `devctl`, `x y`.\n```console\n$ ssh b\n```\nOr `scripts/deploy\n--c`:\n```\nkubectl d\nplain\n```\n`git e`\n";
    assert_eq!(commands(text), ["ssh a", "scripts/deploy --c", "kubectl d", "git e"]);
}

#[tokio::test]
async fn users_are_told_what_works() {
    let product = Product::shared().await;
    let alice = product.user("alice").await;
    let bob = product.user("bob").await;
    let laptop = Laptop::new(&alice, product.front());
    laptop.knows_the_bastion();
    let names = [("alice", alice.name()), ("bob", bob.name()), ("gpu-1", "e2e")];
    for example in examples("## For users", &names) {
        example.holds(&laptop, &[]).await;
    }
}

#[tokio::test]
async fn administrators_are_told_what_works() {
    skip_unless!(is_installed("kubectl"), "no kubectl");
    let product = Product::shared().await;
    let carol = product.user("carol").await;
    carol.is_running().await;
    let laptop = Laptop::new(&carol, product.front());
    laptop.knows_the_bastion();
    let kubeconfig = product.kubeconfig().to_str().expect("the folder has a plain name");
    let dan = format!("{}-dan", carol.name());
    laptop.write(&format!("{dan}.pub"), public(carol.key()));
    // Its objects belong to no user, with whom they would go after a run that failed.
    let vision = format!("vision-{}", carol.name());
    laptop.write(&format!("{vision}.yaml"), file("## For administrators", "DevServerTeam").replace("vision", &vision));
    let names = [("carol", carol.name()), ("alice", dan.as_str()), ("vision", vision.as_str())];
    for example in examples("## For administrators", &names) {
        example.holds(&laptop, &[("KUBECONFIG", kubeconfig)]).await;
        if example.command.contains("create clusterrolebinding") {
            let (host, list) = (format!("{}@bastion", carol.name()), "devctl users list");
            eventually("the right is heard of", async || {
                laptop.run("ssh", &[&host, list]).await.succeeded().then_some(())
            })
            .await;
        }
    }
}

/// How long a command may take.
const LIMIT: Duration = Duration::from_secs(300);

struct Example {
    command: String,
    output: String,
}

impl Example {
    async fn holds(&self, laptop: &Laptop, environment: &[(&str, &str)]) {
        let Self { command, output } = self;
        let mut shell = laptop.command("bash", &["-c", &format!("exec </dev/null; {command}")]);
        shell.envs(environment.iter().copied());
        let ended = within(LIMIT, command, shell.output()).await.expect("bash is installed");
        let (out, err) = (String::from_utf8_lossy(&ended.stdout), String::from_utf8_lossy(&ended.stderr));
        assert!(ended.status.success(), "$ {command}\nended with {} and said:\n{err}{out}", ended.status);
        // A client may write what comes on stderr before or after what comes on stdout, and a login that takes long
        // tells why.
        let is_told = is_like(output, &out) || is_like(output, &format!("{err}{out}"));
        assert!(is_told, "$ {command}\nREADME says:\n{output}\nit was, on stderr:\n{err}\non stdout:\n{out}");
    }
}

fn chapter(heading: &str) -> &'static str {
    let text = README.split_once(&format!("\n{heading}\n")).expect("README has the chapter").1;
    text.split("\n## ").next().unwrap_or_default()
}

/// The file of a chapter that makes a `kind`.
fn file(heading: &str, kind: &str) -> &'static str {
    let mut files = chapter(heading).split("```yaml\n").skip(1).filter_map(|file| Some(file.split_once("```")?.0));
    files.find(|file| file.contains(&format!("kind: {kind}\n"))).expect("the chapter has the file")
}

/// The commands of a chapter, with names that are free instead of those that it has.
fn examples(heading: &str, names: &[(&str, &str)]) -> Vec<Example> {
    let mut examples: Vec<Example> = Vec::new();
    for block in chapter(heading).split("```console\n").skip(1) {
        for line in block.split("```").next().unwrap_or_default().lines() {
            let line = names.iter().fold(line.to_owned(), |line, (name, free)| line.replace(name, free));
            match (line.strip_prefix("$ "), examples.last_mut()) {
                (Some(command), _) => examples.push(Example { command: command.to_owned(), output: String::new() }),
                (None, Some(example)) => example.output += &format!("{line}\n"),
                (None, None) => panic!("a console block that begins with no command: {line}"),
            }
        }
    }
    assert!(!examples.is_empty(), "{heading} has no examples");
    examples
}

/// Whether `said` is what `told` has, spaces at the ends of lines aside.
fn is_like(told: &str, said: &str) -> bool {
    let plain = |text: &str| text.lines().map(str::trim_end).collect::<Vec<_>>().join("\n").trim().to_owned();
    let (told, said) = (plain(told), plain(said));
    let pieces: Vec<&str> = told.split('…').collect();
    let (Some(first), Some(last)) = (pieces.first(), pieces.last()) else { return false };
    let Some(mut rest) = said.strip_prefix(first) else { return false };
    if let [_] = pieces[..] {
        return rest.is_empty();
    }
    for piece in &pieces[1..pieces.len() - 1] {
        match rest.split_once(piece) {
            Some((_, after)) => rest = after,
            None => return false,
        }
    }
    rest.ends_with(last)
}

#[test]
fn an_example_is_matched_where_it_leaves_room() {
    assert!(is_like("a\nb\n", "a  \nb\n"));
    assert!(is_like("NAME …\ndev …Running…\n", "NAME   AGE\ndev   x Running 3s\n"));
    assert!(is_like("…", "") && is_like("…\nend", "x\ny\nend"));
    assert!(!is_like("a", "a b") && !is_like("a…b", "a") && !is_like("", "x") && !is_like("x…x", "x"));
}
