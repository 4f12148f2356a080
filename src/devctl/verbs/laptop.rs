//! Verbs that do something on a laptop, and so cannot be done from here.

use clap::Subcommand;

#[derive(Subcommand)]
#[command(next_help_heading = "On your laptop")]
pub(in crate::devctl) enum Laptop {
    /// On your laptop: remember a bastion
    Login(Rest),
    /// On your laptop: copy files to and from a DevServer
    Cp(Rest),
    /// On your laptop: forward ports of a DevServer
    Forward(Rest),
    /// On your laptop: check each hop from there to the pod
    Doctor(Rest),
    /// On your laptop: print a completion script for your shell
    Completion(Rest),
}

#[derive(clap::Args)]
#[command(disable_help_flag = true)]
pub(in crate::devctl) struct Rest {
    #[arg(hide = true, trailing_var_arg = true, allow_hyphen_values = true)]
    _words: Vec<String>,
}

impl Laptop {
    /// Where it is to be done instead, and how without devctl.
    pub(in crate::devctl) fn explain(&self) -> String {
        let (verb, instead) = match self {
            Self::Login(_) => ("login", "with ssh alone there is nothing to remember: `ssh USER@BASTION`"),
            Self::Cp(_) => ("cp", "or there: scp FILE USER+NAME@BASTION:"),
            Self::Forward(_) => ("forward", "or there: ssh -N -L 8888:localhost:8888 USER+NAME@BASTION"),
            Self::Doctor(_) => ("doctor", "or there: ssh -v USER@BASTION; here `devctl why NAME` looks at a DevServer"),
            Self::Completion(_) => ("completion", "its scripts ask here for names"),
        };
        format!("devctl: `devctl {verb}` is for your laptop; {instead}\n")
    }
}
