//! Signals, as RFC 4254 §6.9–6.10 names them and as Linux numbers them.

use russh::Sig;

use crate::workspace::Exit;

/// Whether a signal ended it: told as such, or by a shell's custom.
pub(super) fn ended(exit: Exit) -> bool {
    match exit {
        Exit::Code(code) => code > 128,
        Exit::Signal { .. } => true,
    }
}

/// The name of signal `number` on x86 and arm; one that the RFC does not know is told as sshd does.
pub(super) fn name(number: u32) -> Sig {
    match number {
        1 => Sig::HUP,
        2 => Sig::INT,
        3 => Sig::QUIT,
        4 => Sig::ILL,
        6 => Sig::ABRT,
        8 => Sig::FPE,
        9 => Sig::KILL,
        10 => Sig::USR1,
        11 => Sig::SEGV,
        12 => Sig::Custom("USR2".to_owned()),
        13 => Sig::PIPE,
        14 => Sig::ALRM,
        15 => Sig::TERM,
        _ => Sig::Custom("SIG@openssh.com".to_owned()),
    }
}

/// What a shell says of it, in the words of Linux's strsignal(3).
pub(super) fn words(number: u32) -> String {
    let known = match number {
        1 => "Hangup",
        2 => "Interrupt",
        3 => "Quit",
        4 => "Illegal instruction",
        5 => "Trace/breakpoint trap",
        6 => "Aborted",
        7 => "Bus error",
        8 => "Floating point exception",
        9 => "Killed",
        10 => "User defined signal 1",
        11 => "Segmentation fault",
        12 => "User defined signal 2",
        13 => "Broken pipe",
        14 => "Alarm clock",
        15 => "Terminated",
        24 => "CPU time limit exceeded",
        25 => "File size limit exceeded",
        31 => "Bad system call",
        _ => return format!("Signal {number}"),
    };
    known.to_owned()
}

/// The name without SIG; none of what the RFC does not know, and no agent would.
pub(super) fn text(signal: Sig) -> Option<String> {
    match signal {
        Sig::Custom(name) if name == "USR2" => Some(name),
        Sig::Custom(_) => None,
        signal => Some(format!("{signal:?}")),
    }
}
