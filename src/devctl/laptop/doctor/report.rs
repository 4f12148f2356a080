//! What was found, as a table or for programs.

use serde::Serialize;

use super::super::failure::Failure;

/// One step.
#[derive(Serialize)]
pub(super) struct Check {
    pub(super) name: &'static str,
    pub(super) state: State,
    detail: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    cure: Option<String>,
}

#[derive(Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum State {
    Ok,
    /// Worth knowing, and no fault.
    Note,
    Failed,
}

#[derive(Default)]
pub(super) struct Report {
    pub(super) checks: Vec<Check>,
}

impl Report {
    pub(super) fn ok(&mut self, name: &'static str, detail: String) {
        self.checks.push(Check { name, state: State::Ok, detail, cure: None });
    }

    pub(super) fn note(&mut self, name: &'static str, detail: String, cure: &str) {
        let cure = Some(cure.to_owned()).filter(|cure| !cure.is_empty());
        self.checks.push(Check { name, state: State::Note, detail, cure });
    }

    pub(super) fn failed(&mut self, name: &'static str, detail: String, cure: &str) {
        self.checks.push(Check { name, state: State::Failed, detail, cure: Some(cure.to_owned()) });
    }

    pub(super) fn failure(&mut self, name: &'static str, failure: Failure) {
        let (detail, cure) = failure.into_parts();
        self.checks.push(Check { name, state: State::Failed, detail, cure });
    }

    /// What a step gave; its detail is yet to be told.
    pub(super) fn take<T>(&mut self, name: &'static str, result: Result<T, Failure>) -> Option<T> {
        match result {
            Ok(value) => {
                self.ok(name, String::new());
                Some(value)
            }
            Err(failure) => {
                self.failure(name, failure);
                None
            }
        }
    }

    pub(super) fn detail(&mut self, detail: String) {
        if let Some(last) = self.checks.last_mut() {
            last.detail = detail;
        }
    }

    pub(super) fn table(&self, colours: bool) -> String {
        let width = self.checks.iter().map(|check| check.name.len()).max().unwrap_or_default();
        let line = |check: &Check| {
            let (word, colour) = match check.state {
                State::Ok => ("ok", 32),
                State::Note => ("note", 33),
                State::Failed => ("failed", 31),
            };
            let mark = match colours {
                true => format!("\x1b[{colour}m{word:<6}\x1b[0m"),
                false => format!("{word:<6}"),
            };
            let indent = format!("\n{:width$}          ", "");
            let mut line = format!("{:width$}  {mark}  {}", check.name, check.detail.replace('\n', &indent));
            if let Some(cure) = &check.cure {
                line += &format!("{indent}{}", cure.replace('\n', &indent));
            }
            line + "\n"
        };
        self.checks.iter().map(line).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_report_lines_up() {
        let mut report = Report::default();
        report.ok("name", "x is 127.0.0.1".to_owned());
        report.failed("host key", "changed\nreally".to_owned(), "ask");
        let table = report.table(false);
        assert_eq!(
            table,
            "name      ok      x is 127.0.0.1\nhost key  failed  changed\n                  really\n                  ask\n"
        );
        assert!(report.table(true).contains("\x1b[31mfailed\x1b[0m"));
    }
}
