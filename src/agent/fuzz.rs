//! Targets of fuzzing: what the bastion asks of the agent, and what clients ask of its servers.

use serde::{Serialize, de::DeserializeOwned};

use super::request::{Accepted, Order, Request, Response};
use crate::carrier::{json, parse};

pub use super::sftp::fuzz::serve as sftp;

/// Whatever was asked: what is understood is said again in the same words.
pub fn request(payload: &[u8]) {
    comes_back::<Request>(payload);
    comes_back::<Accepted>(payload);
    comes_back::<Order>(payload);
    comes_back::<Response>(payload);
}

fn comes_back<T: DeserializeOwned + Serialize + PartialEq>(payload: &[u8]) {
    if let Ok(value) = parse::<T>(payload) {
        assert!(parse::<T>(&json(&value)).is_ok_and(|again| again == value));
    }
}

#[cfg(test)]
pub(crate) mod seeds {
    use super::super::request::{
        Address, Attach, Exit, Listen, Listing, Origin, OutOfMemory, Program, ProgramRequest, ReturnRequest, Shells,
        ShellsRequest, Size, Terminal,
    };
    use super::*;

    pub(crate) use crate::agent::sftp::fuzz::seeds::requests as sftp;

    pub(crate) fn requests() -> Vec<Vec<u8>> {
        let size = Size { columns: 80, rows: 24 };
        let terminal = Some(Terminal { term: "xterm".into(), size, modes: vec![(3, 127)] });
        let program = |program| {
            let environment = vec![("LANG".to_owned(), "C".to_owned())];
            let (ssh_agent, detached) = (Some(7), Some(43_200));
            Request::Program(ProgramRequest {
                program,
                terminal: terminal.clone(),
                environment,
                ssh_agent,
                x11: None,
                detached,
                out_of_memory: true,
                ended: true,
                session: Some("0f".into()),
            })
        };
        let shells = |shells| {
            let (terminal, ssh_agent, out_of_memory) = (terminal.clone(), None, true);
            Request::Shells(ShellsRequest { shells, terminal, ssh_agent, x11: None, out_of_memory, session: None })
        };
        let back = ReturnRequest {
            session: "0f".into(),
            terminal: terminal.clone().expect("it is some"),
            read_only: false,
            ssh_agent: None,
            x11: None,
        };
        let address = Address::Tcp { host: "localhost".into(), port: 80 };
        let origin = Origin { host: "::1".into(), port: 5022 };
        let requests = [
            program(Program::Shell),
            program(Program::Command("echo \"hello\"\n\u{1}".into())),
            program(Program::Sftp),
            shells(Shells::List(Listing::Yaml)),
            shells(Shells::Look(Listing::Table)),
            shells(Shells::Attach { number: 3, mode: Attach::TakeOver }),
            Request::Return(back),
            Request::Connect(Address::Unix("/run/x".into())),
            Request::Listen(Listen { address, listener: 1 }),
        ];
        let orders = [Order::Resize(size), Order::Redraw, Order::Signal("TERM".into())];
        let exits = [Exit::Code(3), Exit::Signal { number: 9, core_dumped: true }].map(Response::Exited);
        let mut all =
            vec![json(&Accepted { listener: 1, origin }), json(&Response::Listening(8080)), json(&Response::Started)];
        all.extend(requests.iter().map(json));
        all.extend(orders.iter().map(json));
        all.extend(exits.iter().map(json));
        all.push(json(&Response::OutOfMemory(OutOfMemory { limit: Some(1 << 30), peak: None })));
        all.push(json(&Response::Notice("back".into())));
        all.into_iter().map(Vec::from).collect()
    }
}
