//! `--startup-script`: a file, which the laptop's `devctl` puts into the command, or what is sent on stdin.

use crate::api::devserver::MAX_STARTUP_SCRIPT;
use crate::devctl::{Caller, Error};

#[derive(clap::Args, Default, PartialEq)]
pub(super) struct StartupScript {
    /// A script that runs each time the pod starts, before sessions can enter; `-` reads it from stdin
    #[arg(long, value_name = "FILE")]
    startup_script: Option<String>,
    /// The script itself
    #[arg(long, value_name = "TEXT", hide = true, conflicts_with = "startup_script")]
    startup_script_text: Option<String>,
}

impl StartupScript {
    /// Reads the script where it is to be read.
    pub(super) async fn read(&mut self, caller: &mut Caller) -> Result<(), Error> {
        match self.startup_script.take().as_deref() {
            None => {}
            Some("-") if caller.is_on_terminal() => {
                return Err(Error::usage("--startup-script - reads a file that you send: leave out ssh's -t"));
            }
            Some("-") => self.startup_script_text = Some(sent(caller).await?),
            Some(_) => {
                return Err(Error::usage(
                    "files of your laptop are not seen from here; send it: `… --startup-script - <FILE`",
                ));
            }
        }
        match self.startup_script_text.as_deref() {
            Some("") => {
                Err(Error::usage("the startup script is empty; `devctl update --reset startup-script` takes one away"))
            }
            Some(text) if text.len() > MAX_STARTUP_SCRIPT => Err(too_long()),
            _ => Ok(()),
        }
    }

    pub(super) fn into_text(self) -> Option<String> {
        self.startup_script_text
    }
}

async fn sent(caller: &mut Caller) -> Result<String, Error> {
    let mut text = String::new();
    loop {
        let Some(line) = caller.line().await? else { return Ok(text) };
        if line.contains(char::REPLACEMENT_CHARACTER) {
            return Err(Error::usage("the startup script is not UTF-8 text"));
        }
        text.push_str(&line);
        text.push('\n');
        if text.len() > MAX_STARTUP_SCRIPT + 1 {
            return Err(too_long());
        }
    }
}

fn too_long() -> Error {
    Error::usage("a startup script has at most 64 KiB; keep what is longer in the image or the home, and call it")
}
