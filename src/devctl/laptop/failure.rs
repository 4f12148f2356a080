//! What went wrong, told to the person at the keyboard together with what to do about it.

use std::fmt;

/// An error as it is printed: one line of what happened, then the next step.
#[derive(Debug)]
pub(super) struct Failure {
    message: String,
    cure: Option<String>,
    status: u8,
}

/// Something did not work.
pub(super) const FAILED: u8 = 1;
/// The command line was not understood.
pub(super) const USAGE: u8 = 2;
/// She pressed Ctrl-C.
pub(super) const INTERRUPTED: u8 = 130;
/// The bastion could not be reached, or did not let her in. OpenSSH's client says so too.
pub(super) const NO_CONNECTION: u8 = 255;

impl Failure {
    pub(super) fn new(message: impl Into<String>) -> Self {
        Self { message: message.into(), cure: None, status: FAILED }
    }

    /// What to do about it.
    pub(super) fn cure(self, cure: impl Into<String>) -> Self {
        Self { cure: Some(cure.into()), ..self }
    }

    pub(super) fn status(self, status: u8) -> Self {
        Self { status, ..self }
    }

    /// The same as seen from the connection: there is none.
    pub(super) fn no_connection(self) -> Self {
        self.status(NO_CONNECTION)
    }

    /// What the process exits with.
    pub(super) fn exit_status(&self) -> u8 {
        self.status
    }

    pub(super) fn into_parts(self) -> (String, Option<String>) {
        (self.message, self.cure)
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)?;
        match &self.cure {
            Some(cure) => write!(f, "\n  {}", cure.replace('\n', "\n  ")),
            None => Ok(()),
        }
    }
}

impl std::error::Error for Failure {}

/// Of the transport itself; what the protocol says is told where it happens.
impl From<russh::Error> for Failure {
    fn from(error: russh::Error) -> Self {
        let failure = Self::new(match error {
            russh::Error::Disconnect | russh::Error::HUP | russh::Error::SendError | russh::Error::RecvError => {
                "the bastion closed the connection".to_owned()
            }
            other => format!("the connection to the bastion failed: {other}"),
        });
        failure.cure("`devctl doctor` looks at each step of the way").no_connection()
    }
}

impl From<russh::SendError> for Failure {
    fn from(_: russh::SendError) -> Self {
        russh::Error::SendError.into()
    }
}
