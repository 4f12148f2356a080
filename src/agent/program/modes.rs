//! The modes that a client wants its terminal to have (RFC 4254 §8, RFC 8160).

use rustix::termios::{ControlModes, InputModes, LocalModes, OutputModes, SpecialCodeIndex, Termios};

/// Sets each mode of `wanted`, an opcode and its argument; those that Linux does not know are left out.
pub(super) fn set(termios: &mut Termios, wanted: &[(u8, u32)]) {
    for &(opcode, argument) in wanted {
        if let Some(code) = special_code(opcode) {
            // 255 is none, which Linux writes as 0.
            termios.special_codes[code] = u8::try_from(argument).ok().filter(|&byte| byte != 255).unwrap_or(0);
        } else if let Some(mode) = input_mode(opcode) {
            termios.input_modes.set(mode, argument != 0);
        } else if let Some(mode) = local_mode(opcode) {
            termios.local_modes.set(mode, argument != 0);
        } else if let Some(mode) = output_mode(opcode) {
            termios.output_modes.set(mode, argument != 0);
        } else {
            set_line(termios, opcode, argument);
        }
    }
}

fn special_code(opcode: u8) -> Option<SpecialCodeIndex> {
    Some(match opcode {
        1 => SpecialCodeIndex::VINTR,
        2 => SpecialCodeIndex::VQUIT,
        3 => SpecialCodeIndex::VERASE,
        4 => SpecialCodeIndex::VKILL,
        5 => SpecialCodeIndex::VEOF,
        6 => SpecialCodeIndex::VEOL,
        7 => SpecialCodeIndex::VEOL2,
        8 => SpecialCodeIndex::VSTART,
        9 => SpecialCodeIndex::VSTOP,
        10 => SpecialCodeIndex::VSUSP,
        12 => SpecialCodeIndex::VREPRINT,
        13 => SpecialCodeIndex::VWERASE,
        14 => SpecialCodeIndex::VLNEXT,
        16 => SpecialCodeIndex::VSWTC,
        18 => SpecialCodeIndex::VDISCARD,
        _ => return None,
    })
}

fn input_mode(opcode: u8) -> Option<InputModes> {
    Some(match opcode {
        30 => InputModes::IGNPAR,
        31 => InputModes::PARMRK,
        32 => InputModes::INPCK,
        33 => InputModes::ISTRIP,
        34 => InputModes::INLCR,
        35 => InputModes::IGNCR,
        36 => InputModes::ICRNL,
        37 => InputModes::IUCLC,
        38 => InputModes::IXON,
        39 => InputModes::IXANY,
        40 => InputModes::IXOFF,
        41 => InputModes::IMAXBEL,
        42 => InputModes::IUTF8,
        _ => return None,
    })
}

fn local_mode(opcode: u8) -> Option<LocalModes> {
    Some(match opcode {
        50 => LocalModes::ISIG,
        51 => LocalModes::ICANON,
        52 => LocalModes::XCASE,
        53 => LocalModes::ECHO,
        54 => LocalModes::ECHOE,
        55 => LocalModes::ECHOK,
        56 => LocalModes::ECHONL,
        57 => LocalModes::NOFLSH,
        58 => LocalModes::TOSTOP,
        59 => LocalModes::IEXTEN,
        60 => LocalModes::ECHOCTL,
        61 => LocalModes::ECHOKE,
        62 => LocalModes::PENDIN,
        _ => return None,
    })
}

fn output_mode(opcode: u8) -> Option<OutputModes> {
    Some(match opcode {
        70 => OutputModes::OPOST,
        71 => OutputModes::OLCUC,
        72 => OutputModes::ONLCR,
        73 => OutputModes::OCRNL,
        74 => OutputModes::ONOCR,
        75 => OutputModes::ONLRET,
        _ => return None,
    })
}

/// What a line of wire would have.
fn set_line(termios: &mut Termios, opcode: u8, argument: u32) {
    let on = argument != 0;
    match opcode {
        // One of these is on; OpenSSH's client says of 8 bits that they are 7 as well, and then that they are 8.
        90 if on => set_size(termios, ControlModes::CS7),
        91 if on => set_size(termios, ControlModes::CS8),
        92 => termios.control_modes.set(ControlModes::PARENB, on),
        93 => termios.control_modes.set(ControlModes::PARODD, on),
        // A speed of 0 would hang up.
        128 if on => drop(termios.set_input_speed(argument)),
        129 if on => drop(termios.set_output_speed(argument)),
        _ => {}
    }
}

fn set_size(termios: &mut Termios, size: ControlModes) {
    termios.control_modes.remove(ControlModes::CSIZE);
    termios.control_modes.insert(size);
}

#[cfg(test)]
mod tests {
    use rustix::termios::tcgetattr;

    use super::*;

    /// A terminal's modes once these are set.
    fn with(wanted: &[(u8, u32)]) -> Termios {
        let (pty, _pts) = pty_process::blocking::open().unwrap();
        let mut termios = tcgetattr(&pty).unwrap();
        set(&mut termios, wanted);
        termios
    }

    #[test]
    fn control_characters_are_set_and_disabled() {
        let termios = with(&[(1, 0x18), (3, 8), (5, 255), (10, 100_000)]);
        let codes =
            [SpecialCodeIndex::VINTR, SpecialCodeIndex::VERASE, SpecialCodeIndex::VEOF, SpecialCodeIndex::VSUSP];
        assert_eq!(codes.map(|code| termios.special_codes[code]), [0x18, 8, 0, 0]);
    }

    #[test]
    fn flags_go_on_and_off() {
        let termios = with(&[(53, 0), (56, 1), (42, 1), (38, 0), (72, 0), (90, 1), (91, 1), (92, 1)]);
        assert!(!termios.local_modes.contains(LocalModes::ECHO) && termios.local_modes.contains(LocalModes::ECHONL));
        assert!(!termios.input_modes.contains(InputModes::IXON) && termios.input_modes.contains(InputModes::IUTF8));
        assert!(!termios.output_modes.contains(OutputModes::ONLCR));
        assert!(termios.control_modes.contains(ControlModes::CS8 | ControlModes::PARENB));
    }

    #[test]
    fn speeds_are_set_and_none_hangs_up() {
        let termios = with(&[(128, 9600), (129, 115_200)]);
        assert_eq!((termios.input_speed(), termios.output_speed()), (9600, 115_200));
        assert_ne!(with(&[(129, 0)]).output_speed(), 0);
    }

    #[test]
    fn what_nobody_knows_changes_nothing() {
        let text = |termios: Termios| format!("{termios:?}");
        assert_eq!(text(with(&[(0, 1), (11, 1), (17, 1), (77, 1), (159, 1), (255, 1)])), text(with(&[])));
    }
}
