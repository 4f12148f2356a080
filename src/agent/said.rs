//! What the system says of an error, in words for users.

use std::io;

/// Without the number that Rust adds.
pub(super) fn said(error: &io::Error) -> String {
    let words = error.to_string();
    let number = error.raw_os_error().map(|number| format!(" (os error {number})"));
    number.and_then(|number| words.strip_suffix(&number)).unwrap_or(&words).to_owned()
}
