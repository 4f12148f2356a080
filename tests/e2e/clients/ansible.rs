//! Ansible, in each of the two ways that it has of running a module.

use super::{alice, bytes};
use crate::harness::{has_agents, is_installed, skip_unless};

const PLAY: &str = r#"
- hosts: pod
  gather_facts: false
  tasks:
    - raw: 'echo "two  words"; exit 3'
      register: raw
      failed_when: raw.rc != 3 or raw.stdout_lines != ["two  words"]
    - command:
        argv: [sh, -c, 'cat; echo "not  out" >&2; exit 4']
        stdin: "a 'line' of \"text\""
      register: command
      failed_when: command.rc != 4 or command.stdout != "a 'line' of \"text\"" or command.stderr != "not  out"
    - copy: {src: up, dest: there, mode: "0640"}
    - stat: {path: there}
      register: there
      failed_when: there.stat.size != 3000001 or there.stat.mode != "0640"
    - fetch: {src: there, dest: back, flat: true}
"#;

async fn plays(pipelining: &str) {
    let (_product, _alice, laptop) = alice().await;
    laptop.write("play.yml", PLAY);
    laptop.write("up", bytes());
    let command = ["ANSIBLE_STDOUT_CALLBACK=default", "ANSIBLE_SSH_ARGS=-o ControlMaster=auto -o ControlPersist=2s"];
    let pipelining = format!("ANSIBLE_PIPELINING={pipelining}");
    let play = ["ansible-playbook", "-i", "pod,", "-e", "ansible_python_interpreter=/usr/bin/python3", "play.yml"];
    let arguments: Vec<&str> = command.into_iter().chain([pipelining.as_str()]).chain(play).collect();
    let played = laptop.run("env", &arguments).await;
    assert!(played.text().contains("failed=0"), "{}{}", played.text(), played.stderr());
    played.exits(0);
    assert!(laptop.holds("back", &bytes()));
}

#[tokio::test]
async fn ansible_plays_with_pipelining() {
    skip_unless!(has_agents(), "the pods have no agent");
    skip_unless!(is_installed("ansible-playbook"), "ansible-core is not installed");
    plays("True").await;
}

#[tokio::test]
async fn ansible_plays_with_files() {
    skip_unless!(has_agents(), "the pods have no agent");
    skip_unless!(is_installed("ansible-playbook"), "ansible-core is not installed");
    plays("False").await;
}
