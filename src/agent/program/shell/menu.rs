//! What a session asks about the shells, and on a terminal the choice of one.

use super::list::{Entry, list};
use crate::agent::request::{Attach, Exit, Order, Response, Shells, Terminal};
use crate::carrier::{Message, Sender, Stream, parse};

const CTRL_C: u8 = 3;
const CTRL_D: u8 = 4;
const BACKSPACE: [u8; 2] = [8, 127];

/// What comes of what a session asked.
pub(super) enum Choice {
    Attach {
        number: u64,
        mode: Attach,
    },
    /// It was answered.
    Nothing,
}

/// Answers what a session asks; a terminal that is shown a list is asked for a choice.
pub(super) async fn choose(
    asked: Shells,
    shells: &[Entry],
    terminal: &mut Option<Terminal>,
    stream: &mut Stream,
) -> Choice {
    let (listing, mode) = match asked {
        Shells::Attach { number, mode } => return Choice::Attach { number, mode },
        Shells::List(listing) => (listing, Attach::Share),
        Shells::Look(listing) => (listing, Attach::ReadOnly),
    };
    let text = list(shells, listing);
    let chosen = match terminal {
        Some(_) if listing.is_table() && !shells.is_empty() => {
            let question = format!("{text}\nNumber of the one to attach to (Enter: none): ").replace('\n', "\r\n");
            let _ = stream.sender.data(question.into()).await;
            let number = ask(terminal, stream).await;
            let _ = stream.sender.data("\r\n".into()).await;
            number
        }
        _ => {
            let text = if terminal.is_some() { text.replace('\n', "\r\n") } else { text };
            let _ = stream.sender.data(text.into()).await;
            None
        }
    };
    match chosen {
        Some(number) => Choice::Attach { number, mode },
        None => {
            let _ = stream.sender.send(Message::control(&Response::Exited(Exit::Code(0))));
            Choice::Nothing
        }
    }
}

/// Says why there is nothing to look at.
pub(super) async fn refuse(why: &str, sender: &Sender) {
    let _ = sender.stderr(format!("bastion: {why}\r\n").into()).await;
    let _ = sender.send(Message::control(&Response::Exited(Exit::Code(1))));
}

/// The number that is typed; none if none is.
async fn ask(terminal: &mut Option<Terminal>, stream: &mut Stream) -> Option<u64> {
    const DIGITS: usize = 9;
    let mut typed = String::new();
    while let Some((message, _credit)) = stream.receiver.receive().await {
        let bytes = match message {
            Message::Data(bytes) => bytes,
            Message::Control(order) => {
                if let (Ok(Order::Resize(size)), Some(terminal)) = (parse(&order), terminal.as_mut()) {
                    terminal.size = size;
                }
                continue;
            }
            _ => return None,
        };
        for byte in bytes {
            match byte {
                b'\r' | b'\n' => return typed.parse().ok(),
                CTRL_C | CTRL_D => return None,
                b'0'..=b'9' if typed.len() < DIGITS => {
                    typed.push(byte.into());
                    let _ = stream.sender.data(vec![byte].into()).await;
                }
                _ if BACKSPACE.contains(&byte) && typed.pop().is_some() => {
                    let _ = stream.sender.data("\x08 \x08".into()).await;
                }
                _ => {}
            }
        }
    }
    None
}
