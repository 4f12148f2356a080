//! Go's x/crypto/ssh, in a program as people write them with it.

use std::path::PathBuf;
use std::process::Command;

use super::{alice, bytes};
use crate::forwards::shouts;
use crate::harness::{free_port, has_agents, is_installed, skip_unless};

/// The newest version of a module that this machine has, so that nothing is fetched.
fn cached(module_cache: &str, module: &str) -> Option<String> {
    let folder = PathBuf::from(module_cache).join("cache/download").join(module).join("@v");
    let names = std::fs::read_dir(folder).ok()?.flatten().filter_map(|entry| entry.file_name().into_string().ok());
    let number = |version: &str| -> Vec<u32> { version.split(['v', '.']).filter_map(|n| n.parse().ok()).collect() };
    names.filter_map(|name| Some(name.strip_suffix(".zip")?.to_owned())).max_by_key(|version| number(version))
}

fn go_env(name: &str) -> String {
    let output = Command::new("go").args(["env", name]).output().expect("it is installed");
    String::from_utf8_lossy(&output.stdout).trim().to_owned()
}

#[tokio::test]
async fn gos_library_runs_transfers_and_forwards() {
    skip_unless!(has_agents(), "the pods have no agent");
    skip_unless!(is_installed("go"), "Go is not installed");
    let [modules, builds] = ["GOMODCACHE", "GOCACHE"].map(go_env);
    let versions = ["golang.org/x/crypto", "golang.org/x/sys"].map(|module| Some((module, cached(&modules, module)?)));
    skip_unless!(versions.iter().all(Option::is_some), "golang.org/x/crypto is not in Go's module cache");
    let (_product, alice, laptop) = alice().await;
    let requires = versions.iter().flatten().map(|(module, version)| format!("require {module} {version}\n"));
    laptop.write("program/go.mod", format!("module program\n\ngo 1.24\n\n{}", requires.collect::<String>()));
    laptop.write("program/main.go", PROGRAM);
    let settings = [
        format!("GOMODCACHE={modules}"),
        format!("GOCACHE={builds}"),
        "GOFLAGS=-mod=mod".to_owned(),
        "GOPROXY=off".to_owned(),
        "GOSUMDB=off".to_owned(),
        "GOTOOLCHAIN=local".to_owned(),
    ];
    let mut words: Vec<&str> = settings.iter().map(String::as_str).collect();
    words.extend(["go", "build", "-C", "program", "-o", "../client", "."]);
    let built = laptop.run("env", &words).await;
    skip_unless!(built.succeeded(), format!("this Go does not build the program: {}", built.stderr()));
    laptop.write("bytes", bytes());
    let there = free_port();
    let _server = shouts(&alice, &there.to_string()).await;
    let program = laptop.path("client");
    let ran = laptop.run(program.to_str().expect("a plain name"), &[&there.to_string()]).await;
    ran.exits(0).prints("all is well\n");
}

const PROGRAM: &str = r#"package main

import (
	"bytes"
	"fmt"
	"io"
	"net"
	"os"
	"strings"

	"golang.org/x/crypto/ssh"
	"golang.org/x/crypto/ssh/knownhosts"
)

func check(err error) {
	if err != nil {
		panic(err)
	}
}

func must[T any](value T, err error) T {
	check(err)
	return value
}

func expect(holds bool, what string) {
	if !holds {
		panic(what)
	}
}

func main() {
	data := must(os.ReadFile("bytes"))
	signer := must(ssh.ParsePrivateKey(must(os.ReadFile("key"))))
	client := must(ssh.Dial("tcp", "127.0.0.1:"+os.Getenv("PORT"), &ssh.ClientConfig{
		User:              os.Getenv("LOGIN"),
		Auth:              []ssh.AuthMethod{ssh.PublicKeys(signer)},
		HostKeyCallback:   must(knownhosts.New(".ssh/known_hosts")),
		HostKeyAlgorithms: []string{ssh.KeyAlgoED25519},
	}))
	_, _, err := client.SendRequest("keepalive@openssh.com", true, nil)
	check(err)

	session := must(client.NewSession())
	var out, complaints bytes.Buffer
	session.Stdin, session.Stdout, session.Stderr = bytes.NewReader(data), &out, &complaints
	ended, _ := session.Run("cat; echo \"not  out\" >&2; exit 3").(*ssh.ExitError)
	expect(ended != nil && ended.ExitStatus() == 3, "the exit status")
	expect(bytes.Equal(out.Bytes(), data) && complaints.String() == "not  out\n", "what was written")

	session = must(client.NewSession())
	up := must(session.StdoutPipe())
	check(session.Start("echo up; exec sleep 1000"))
	must(io.ReadFull(up, make([]byte, 3)))
	check(session.Signal(ssh.SIGTERM))
	ended, _ = session.Wait().(*ssh.ExitError)
	expect(ended != nil && ended.Signal() == "TERM", "the signal that ended it")

	session = must(client.NewSession())
	check(session.RequestPty("xterm", 30, 100, ssh.TerminalModes{ssh.ECHO: 0}))
	keys, screen := must(session.StdinPipe()), must(session.StdoutPipe())
	check(session.Shell())
	must(keys.Write([]byte("stty size; exit 5\n")))
	shown := must(io.ReadAll(screen))
	ended, _ = session.Wait().(*ssh.ExitError)
	expect(strings.Contains(string(shown), "30 100") && ended != nil && ended.ExitStatus() == 5, "a shell")

	session = must(client.NewSession())
	session.Stdin = bytes.NewReader(data)
	check(session.Run("cat >there"))
	session = must(client.NewSession())
	expect(bytes.Equal(must(session.Output("cat there")), data), "what was uploaded")

	forward := must(client.Dial("tcp", "127.0.0.1:"+os.Args[1]))
	must(forward.Write([]byte("forwarded")))
	check(forward.(interface{ CloseWrite() error }).CloseWrite())
	expect(string(must(io.ReadAll(forward))) == "FORWARDED", "a forward")

	listener := must(client.Listen("tcp", "127.0.0.1:0"))
	session = must(client.NewSession())
	check(session.Start(fmt.Sprintf(`python3 -c "import socket
s = socket.create_connection(('127.0.0.1', %d)); s.sendall(b'from the pod'); s.recv(1)"`,
		listener.Addr().(*net.TCPAddr).Port)))
	back := must(listener.Accept())
	must(io.ReadFull(back, make([]byte, 12)))
	check(back.Close())
	check(session.Wait())
	check(listener.Close())
	check(client.Close())
	fmt.Println("all is well")
}
"#;
