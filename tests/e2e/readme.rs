//! What README tells users and administrators to type is typed here, and answered as it says.
//!
//! In its `console` blocks a line after `$ ` is a command and the lines below are what it prints; `…` stands for anything.

use std::time::Duration;

use crate::harness::{Laptop, Product, eventually, is_installed, public, skip_unless, within};

const README: &str = include_str!("../../README.md");

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
    laptop.write(&format!("{vision}.yaml"), file("## For administrators").replace("vision", &vision));
    let names = [("carol", carol.name()), ("alice", dan.as_str()), ("vision", vision.as_str())];
    for example in examples("## For administrators", &names) {
        // `scripts/deploy` has a test of its own: scripts/test --real.
        if !example.command.starts_with("scripts/") {
            example.holds(&laptop, &[("KUBECONFIG", kubeconfig)]).await;
        }
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
        // A client may write what comes on stderr before or after what comes on stdout, and a login that takes long tells why.
        let is_told = is_like(output, &out) || is_like(output, &format!("{err}{out}"));
        assert!(is_told, "$ {command}\nREADME says:\n{output}\nit was, on stderr:\n{err}\non stdout:\n{out}");
    }
}

/// The file that a chapter has.
fn file(chapter: &str) -> &'static str {
    let text = README.split_once(&format!("\n{chapter}\n")).expect("README has the chapter").1;
    text.split_once("```yaml\n").and_then(|(_, file)| file.split_once("```")).expect("the chapter has a file").0
}

/// The commands of a chapter, with names that are free instead of those that it has.
fn examples(chapter: &str, names: &[(&str, &str)]) -> Vec<Example> {
    let text = README.split_once(&format!("\n{chapter}\n")).expect("README has the chapter").1;
    let text = text.split("\n## ").next().unwrap_or_default();
    let mut examples: Vec<Example> = Vec::new();
    for block in text.split("```console\n").skip(1) {
        for line in block.split("```").next().unwrap_or_default().lines() {
            let line = names.iter().fold(line.to_owned(), |line, (name, free)| line.replace(name, free));
            match (line.strip_prefix("$ "), examples.last_mut()) {
                (Some(command), _) => examples.push(Example { command: command.to_owned(), output: String::new() }),
                (None, Some(example)) => example.output += &format!("{line}\n"),
                (None, None) => panic!("a console block that begins with no command: {line}"),
            }
        }
    }
    assert!(!examples.is_empty(), "{chapter} has no examples");
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
