//! Objects as a table, as JSON or YAML for programs, or by their names.

use clap::{Args, ValueEnum};
use kube::ResourceExt;
use serde::Serialize;
use serde_json::json;

use super::{Caller, Error};
use crate::api::{DevServer, Phase};
use crate::plain::plain;

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(super) enum Format {
    /// For people
    Table,
    /// A table with further columns, where there are any
    Wide,
    /// For programs: the API's objects; `top`, `whoami`, `doctor` and `shells` have shapes of their own
    Json,
    /// The same as json, in YAML
    Yaml,
    /// Names alone, one a line
    Name,
}

#[derive(Args, Clone, Copy, Debug)]
pub(super) struct OutputArgs {
    /// How to print it
    #[arg(long = "output", short = 'o', value_name = "FORMAT", default_value = "table")]
    pub(super) format: Format,
}

impl Format {
    pub(super) fn is_table(self) -> bool {
        matches!(self, Self::Table | Self::Wide)
    }
}

/// Prints a list, for programs as a `List` object.
pub(super) async fn list<K>(caller: &Caller, format: Format, items: &[K], table: Table) -> Result<(), Error>
where
    K: ResourceExt + Serialize,
{
    let text = match format {
        Format::Table | Format::Wide => table.render(caller.columns(), caller.streams.colour),
        Format::Json => pretty(&json!({"apiVersion": "v1", "kind": "List", "metadata": {}, "items": items}))?,
        Format::Yaml => yaml(&json!({"apiVersion": "v1", "kind": "List", "metadata": {}, "items": items}))?,
        Format::Name => items.iter().map(|item| item.name_any() + "\n").collect(),
    };
    caller.print(&text).await;
    Ok(())
}

/// One object for programs; none for a table.
pub(super) fn object<K: ResourceExt + Serialize>(format: Format, object: &K) -> Result<Option<String>, Error> {
    one(format, object, &object.name_any())
}

/// The same of what is no object of the API's.
pub(super) fn one(format: Format, value: &impl Serialize, name: &str) -> Result<Option<String>, Error> {
    match format {
        Format::Table | Format::Wide => Ok(None),
        Format::Json => pretty(value).map(Some),
        Format::Yaml => yaml(value).map(Some),
        Format::Name => Ok(Some(format!("{name}\n"))),
    }
}

/// The DevServer that a verb is to tell of: that of this name, or the one that is meant. None if it is for programs,
/// which get the object, and was printed.
pub(super) async fn shown(caller: &Caller, name: Option<String>, format: Format) -> Result<Option<DevServer>, Error> {
    let server = caller.devserver(&caller.name(name)?).await?;
    let Some(text) = object(format, &server)? else { return Ok(Some(server)) };
    caller.print(&text).await;
    Ok(None)
}

/// Prints one object for programs; for people it is what they are told that counts.
pub(super) async fn changed<K: ResourceExt + Serialize>(
    caller: &Caller,
    format: Format,
    changed: &K,
) -> Result<(), Error> {
    if let Some(text) = object(format, changed)? {
        caller.print(&text).await;
    }
    Ok(())
}

/// The same where the words are all that is printed.
pub(super) async fn changed_or<K: ResourceExt + Serialize>(
    caller: &Caller,
    format: Format,
    changed: &K,
    words: &str,
) -> Result<(), Error> {
    let text = object(format, changed)?;
    caller.print(&text.unwrap_or_else(|| format!("{}\n", caller.advice(words)))).await;
    Ok(())
}

pub(super) fn pretty(value: &impl Serialize) -> Result<String, Error> {
    let text = serde_json::to_string_pretty(value);
    text.map(|text| text + "\n").map_err(|error| Error::failed(format!("it cannot be written as JSON: {error}")))
}

pub(super) fn yaml(value: &impl Serialize) -> Result<String, Error> {
    // By way of JSON, which an object is whatever its type.
    let value = serde_json::to_value(value).map_err(|error| Error::failed(error.to_string()))?;
    // Its end stays as it is: newlines may be a text's own.
    let text = serde_saphyr::to_string(&value);
    text.map_err(|error| Error::failed(format!("it cannot be written as YAML: {error}")))
}

/// Names and values, one pair a line.
#[derive(Default)]
pub(super) struct Fields(Vec<(&'static str, String)>);

impl Fields {
    pub(super) fn put(&mut self, name: &'static str, value: impl AsRef<str>) {
        self.0.push((name, plain(value.as_ref())));
    }

    pub(super) fn put_some(&mut self, name: &'static str, value: Option<impl AsRef<str>>) {
        if let Some(value) = value {
            self.put(name, value);
        }
    }

    /// A name that is the same as the one above is not said again.
    pub(super) fn render(&self) -> String {
        let width = self.0.iter().map(|(name, _)| name.len()).max().unwrap_or_default() + 1;
        let mut last = "";
        let mut text = String::new();
        for (name, value) in &self.0 {
            let label = if *name == last { String::new() } else { format!("{name}:") };
            last = name;
            text += &format!("{label:width$}   {value}\n");
        }
        text
    }
}

/// Rows under a header.
pub(super) struct Table {
    header: Vec<&'static str>,
    rows: Vec<Vec<Cell>>,
}

/// What stands in a table.
pub(super) struct Cell {
    text: String,
    colour: Option<Colour>,
}

#[derive(Clone, Copy)]
pub(super) enum Colour {
    Green,
    Yellow,
    Red,
    Dim,
}

impl From<&str> for Cell {
    fn from(text: &str) -> Self {
        let text = if text.is_empty() { "-".to_owned() } else { plain(text) };
        Self { text, colour: None }
    }
}

impl From<String> for Cell {
    fn from(text: String) -> Self {
        text.as_str().into()
    }
}

impl Cell {
    /// A phase, in the colour that says how it is.
    pub(super) fn phase(text: &str, phase: Phase) -> Self {
        let colour = match phase {
            Phase::Running => Colour::Green,
            Phase::Pending | Phase::Starting => Colour::Yellow,
            Phase::Failed => Colour::Red,
            Phase::Suspended | Phase::Terminating => Colour::Dim,
        };
        Self::coloured(text, colour)
    }

    pub(super) fn coloured(text: &str, colour: Colour) -> Self {
        Self { colour: Some(colour), ..Self::from(text) }
    }
}

/// Between columns.
const GAP: usize = 3;
/// What a column is not made narrower than.
const NARROWEST: usize = 8;

impl Table {
    pub(super) fn new(header: &[&'static str]) -> Self {
        Self { header: header.to_vec(), rows: Vec::new() }
    }

    pub(super) fn row(&mut self, cells: Vec<Cell>) {
        debug_assert_eq!(cells.len(), self.header.len());
        self.rows.push(cells);
    }

    pub(super) fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    /// The text. On a terminal the widest columns give way, so that no line wraps.
    pub(super) fn render(&self, columns: Option<u16>, colour: bool) -> String {
        self.render_rows(&narrowed(self.widths(), columns), true, colour)
    }

    /// How wide its columns are where there is room for all that is in them.
    pub(super) fn widths(&self) -> Vec<usize> {
        let mut widths: Vec<usize> = self.header.iter().map(|title| title.len()).collect();
        for row in &self.rows {
            for (width, cell) in widths.iter_mut().zip(row) {
                *width = (*width).max(cell.text.chars().count());
            }
        }
        widths
    }

    pub(super) fn render_rows(&self, widths: &[usize], header: bool, colour: bool) -> String {
        let mut text = String::new();
        let titles: Vec<Cell> = self.header.iter().map(|title| Cell::from(*title)).collect();
        let header = header.then_some(&titles);
        for row in header.into_iter().chain(&self.rows) {
            let mut line = String::new();
            for (width, cell) in widths.iter().zip(row) {
                let length = cell.text.chars().count();
                let shown = match length > *width {
                    true => cell.text.chars().take(width.saturating_sub(1)).chain(['…']).collect(),
                    false => cell.text.clone(),
                };
                let padding = " ".repeat(width.saturating_sub(length) + GAP);
                line += &match cell.colour.filter(|_| colour) {
                    Some(colour) => format!("{}{shown}\x1b[0m{padding}", colour.code()),
                    None => shown + &padding,
                };
            }
            text += line.trim_end();
            text.push('\n');
        }
        text
    }
}

/// As wide as a terminal has room for. The first column, the name that is typed next, is always whole; where lines
/// would wrap all the same, so is all else.
pub(super) fn narrowed(widths: Vec<usize>, columns: Option<u16>) -> Vec<usize> {
    let room = columns.map_or(usize::MAX, usize::from);
    let mut narrow = widths.clone();
    while narrow.iter().sum::<usize>() + GAP * narrow.len().saturating_sub(1) > room {
        match narrow.iter_mut().skip(1).max() {
            Some(widest) if *widest > NARROWEST => *widest -= 1,
            _ => return widths,
        }
    }
    narrow
}

impl Colour {
    fn code(self) -> &'static str {
        match self {
            Self::Green => "\x1b[32m",
            Self::Yellow => "\x1b[33m",
            Self::Red => "\x1b[31m",
            Self::Dim => "\x1b[2m",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table() -> Table {
        let mut table = Table::new(&["NAME", "IMAGE", "STATUS"]);
        table.row(vec![
            "dev".into(),
            "registry.example.org/team/image:1".into(),
            Cell::phase("Running", Phase::Running),
        ]);
        table.row(vec!["a".into(), "".into(), Cell::phase("Failed", Phase::Failed)]);
        table
    }

    #[test]
    fn columns_are_aligned() {
        assert_eq!(
            table().render(None, false),
            "NAME   IMAGE                               STATUS\n\
             dev    registry.example.org/team/image:1   Running\n\
             a      -                                   Failed\n"
        );
    }

    #[test]
    fn no_line_is_wider_than_the_terminal() {
        let text = table().render(Some(40), false);
        assert!(text.lines().all(|line| line.chars().count() <= 40), "{text}");
        assert!(text.contains("registry.") && text.contains('…'), "{text}");
    }

    #[test]
    fn a_name_is_whole_and_so_is_a_line_that_wraps_anyway() {
        assert_eq!(narrowed(vec![30, 40, 10], Some(60)), [30, 14, 10]);
        assert_eq!(narrowed(vec![30, 9, 9], Some(40)), [30, 9, 9]);
        assert_eq!(narrowed(vec![30, 40, 10], None), [30, 40, 10]);
    }

    #[test]
    fn fields_are_aligned_and_names_said_once() {
        let mut fields = Fields::default();
        fields.put("Name", "dev");
        fields.put("Volume", "a");
        fields.put("Volume", "b\nc");
        fields.put_some("None", None::<String>);
        assert_eq!(fields.render(), "Name:     dev\nVolume:   a\n          b c\n");
    }

    /// Of readers there are old ones: to YAML 1.1 `1:30` is 90, and `2026-01-01` a date.
    #[test]
    fn a_text_is_a_text_to_whoever_reads_yaml() {
        for text in
            ["yes", "y", "Off", "012", "1_000", "1e3", "0x1f", ".5", "null", "~", "", "2026-01-01", "1:30", "=", "<<"]
        {
            let written = yaml(&json!({"value": text})).unwrap();
            assert!(written.starts_with("value: \"") || written.starts_with("value: '"), "{written}");
        }
        let time = yaml(&json!({"time": "2026-01-01T00:00:00Z"})).unwrap();
        assert_eq!(time.replace('\'', "\""), "time: \"2026-01-01T00:00:00Z\"\n");
        let long = "a word and another ".repeat(20) + "\nand a line\n\n";
        let read: serde_json::Value = serde_saphyr::from_str(&yaml(&json!({"text": long})).unwrap()).unwrap();
        assert_eq!(read["text"], long);
    }

    #[test]
    fn colours_take_no_room() {
        let coloured = table().render(None, true);
        assert!(coloured.contains("\x1b[32mRunning\x1b[0m"), "{coloured:?}");
        assert!(!table().render(None, false).contains('\x1b'));
    }
}
