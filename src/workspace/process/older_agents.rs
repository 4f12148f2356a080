//! A pod keeps the agent that it began with: older ones go on serving until their pods restart.

use std::time::Duration;

use serde::Deserialize;
use tokio::sync::watch;
use tokio::time::Instant;

use super::super::agent::Agent;
use super::super::listeners::Listeners;
use super::super::{Error, Shells, X11};
use super::asked::{answered, begun, request};
use super::{Command, Program, Terminal, TerminalSize};
use crate::agent::request::{Address, Attach, Exit, Listing, Request, Response, ReturnRequest};
use crate::carrier::linked::while_linked;
use crate::carrier::{Carrier, Message, Side, json, parse};

/// What agents of 21 November 2026 (d5df359) understand: all that is there besides was added since.
mod before {
    use super::*;

    #[derive(Debug, Deserialize, PartialEq)]
    pub(super) enum Request {
        Program(ProgramRequest),
        Shells(ShellsRequest),
        Connect(Address),
    }

    #[derive(Debug, Deserialize, PartialEq)]
    pub(super) struct ProgramRequest {
        pub(super) program: Program,
        pub(super) terminal: Option<Terminal>,
        pub(super) environment: Vec<(String, String)>,
        #[serde(default)]
        pub(super) ssh_agent: Option<u64>,
        #[serde(default)]
        pub(super) detached: Option<u64>,
    }

    #[derive(Debug, Deserialize, PartialEq)]
    pub(super) struct ShellsRequest {
        pub(super) shells: Shells,
        pub(super) terminal: Option<Terminal>,
        pub(super) ssh_agent: Option<u64>,
    }

    #[derive(Debug, Deserialize, PartialEq)]
    pub(super) enum Shells {
        List { json: bool },
        Attach { number: u64, mode: Attach },
    }

    #[derive(Debug, Deserialize, PartialEq)]
    pub(super) enum Program {
        Shell,
        Command(String),
        Bytes(Vec<u8>),
        Sftp,
    }

    #[derive(Debug, Deserialize, PartialEq)]
    pub(super) struct Terminal {
        pub(super) term: String,
        pub(super) size: Size,
    }

    #[derive(Debug, Deserialize, PartialEq)]
    pub(super) struct Size {
        pub(super) columns: u16,
        pub(super) rows: u16,
    }
}

fn command(program: Program) -> Command {
    let size = TerminalSize { columns: 80, rows: 24 };
    Command {
        program,
        terminal: Some(Terminal { term: "xterm".to_owned(), size, modes: vec![(1, 3)] }),
        environment: vec![("LANG".to_owned(), "C".to_owned())],
        ssh_agent: true,
        x11: None,
        detached: Some(Duration::from_secs(60)),
    }
}

/// As it goes to the agent, with all that was added since.
fn asked(program: Program) -> before::Request {
    let x11 = X11 { single_connection: false, protocol: "P".to_owned(), cookie: "00".to_owned(), screen: 0 };
    let asked = request(&command(program), Some(7), Some((x11, 8)), Some("session".to_owned()));
    parse(&json(&asked)).expect("it is understood")
}

#[test]
fn what_is_asked_of_them_is_what_they_understand() {
    let terminal = || {
        let size = before::Size { columns: 80, rows: 24 };
        Some(before::Terminal { term: "xterm".to_owned(), size })
    };
    let programs = [
        (Program::Shell, before::Program::Shell),
        (Program::Command("true".into()), before::Program::Command("true".to_owned())),
        (Program::Command(b"\xff"[..].into()), before::Program::Bytes(b"\xff".into())),
        (Program::Sftp, before::Program::Sftp),
    ];
    for (program, expected) in programs {
        let expected = before::ProgramRequest {
            program: expected,
            terminal: terminal(),
            environment: vec![("LANG".to_owned(), "C".to_owned())],
            ssh_agent: Some(7),
            detached: Some(60),
        };
        assert_eq!(asked(program), before::Request::Program(expected));
    }
    let attach = Shells::Attach { number: 3, mode: Attach::TakeOver };
    let shells = [
        (Shells::List(Listing::Json), before::Shells::List { json: true }),
        (attach, before::Shells::Attach { number: 3, mode: Attach::TakeOver }),
    ];
    for (shells, expected) in shells {
        let expected = before::ShellsRequest { shells: expected, terminal: terminal(), ssh_agent: Some(7) };
        assert_eq!(asked(Program::Shells(shells)), before::Request::Shells(expected));
    }
    let address = Address::Tcp { host: "localhost".to_owned(), port: 80 };
    let connect = parse::<before::Request>(&json(&Request::Connect(address.clone())));
    assert_eq!(connect.unwrap(), before::Request::Connect(address));
}

#[test]
fn what_they_answer_is_understood() {
    let answers = [
        (r#""Started""#, Response::Started),
        (r#"{"Listening":22}"#, Response::Listening(22)),
        (r#"{"NotStarted":"no such shell"}"#, Response::NotStarted("no such shell".to_owned())),
        (r#"{"Exited":{"Code":3}}"#, Response::Exited(Exit::Code(3))),
        (
            r#"{"Exited":{"Signal":{"number":9,"core_dumped":false}}}"#,
            Response::Exited(Exit::Signal { number: 9, core_dumped: false }),
        ),
    ];
    for (answer, expected) in answers {
        assert_eq!(parse::<Response>(answer.as_bytes()).unwrap(), expected);
    }
}

/// Of what they do not know they drop the stream. All else goes on.
#[tokio::test]
async fn what_they_cannot_is_told_as_such_and_costs_nothing_else() {
    let (carrier, incoming) = Carrier::new(Side::Bastion, "one".into());
    let (agents, mut opened) = Carrier::new(Side::Agent, "one".into());
    let agent = Agent {
        carrier: carrier.clone(),
        broken_since: watch::channel(None::<Instant>).1,
        listeners: Listeners::serve(incoming),
    };
    let serve = async {
        while let Some((asked, stream)) = opened.recv().await {
            if parse::<before::Request>(&asked).is_ok() {
                let _ = stream.sender.send(Message::Control(br#""Started""#.as_slice().into()));
            }
        }
    };
    let ask = async {
        let Err(error) = agent.history().await else { panic!("it knows of no history") };
        assert_eq!(
            error.user_message(),
            "the pod's agent is too old for this; `devctl suspend NAME` and `devctl resume NAME` make a new pod"
        );
        let size = TerminalSize { columns: 80, rows: 24 };
        let back = Request::Return(ReturnRequest {
            session: "session".to_owned(),
            terminal: Terminal { term: "xterm".to_owned(), size, modes: Vec::new() },
            read_only: false,
            ssh_agent: None,
            x11: None,
        });
        let mut stream = carrier.open(json(&back));
        assert!(matches!(begun(&carrier, &mut stream.receiver).await, Err(Error::OldAgent)));
        let looks = Program::Shells(Shells::Look(Listing::Table));
        let mut stream = carrier.open(json(&request(&command(looks.clone()), None, None, None)));
        let Err(error) = answered(&looks, &carrier, &mut stream.receiver).await else {
            panic!("it knows of no guests")
        };
        assert!(!error.is_outage(), "it would be asked again and again");
        let program = request(&command(Program::Shell), None, None, None);
        let mut stream = carrier.open(json(&program));
        assert!(begun(&carrier, &mut stream.receiver).await.is_ok());
    };
    let work = async {
        tokio::select! {
            () = serve => panic!("the carrier ended"),
            () = ask => {}
        }
    };
    while_linked(&carrier, |_| agents.clone(), work).await;
}
