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
        13 => Sig::PIPE,
        14 => Sig::ALRM,
        15 => Sig::TERM,
        _ => Sig::Custom("SIG@openssh.com".to_owned()),
    }
}

/// The name without SIG.
pub(super) fn text(signal: Sig) -> String {
    match signal {
        Sig::Custom(name) => name,
        signal => format!("{signal:?}"),
    }
}
