//! What a person sees: tables, and colour where it is wanted.

use std::io::IsTerminal;

/// Whether and how to draw for a person.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Style {
    colour: bool,
}

/// What a word means to its reader.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Mood {
    Good,
    Waiting,
    Bad,
    Plain,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Cell {
    pub(crate) text: String,
    pub(crate) mood: Mood,
}

impl Cell {
    pub(crate) fn new(text: impl Into<String>, mood: Mood) -> Self {
        Self {
            text: text.into(),
            mood,
        }
    }

    pub(crate) fn plain(text: impl Into<String>) -> Self {
        Self::new(text, Mood::Plain)
    }
}

impl Style {
    #[cfg(test)]
    pub(crate) const PLAIN: Self = Self { colour: false };

    /// Colour on a terminal, unless <https://no-color.org> or a terminal without it says no.
    pub(crate) fn of(stream: &impl IsTerminal) -> Self {
        let refused = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty())
            || std::env::var_os("TERM").is_some_and(|term| term == "dumb");
        Self {
            colour: stream.is_terminal() && !refused,
        }
    }

    pub(crate) fn paint(self, text: &str, mood: Mood) -> String {
        let code = match mood {
            Mood::Good => "32",
            Mood::Waiting => "33",
            Mood::Bad => "31",
            Mood::Plain => return text.to_owned(),
        };
        if self.colour {
            format!("\x1b[{code}m{text}\x1b[0m")
        } else {
            text.to_owned()
        }
    }

    /// Columns as wide as their widest cell; the last one is as long as it is.
    pub(crate) fn table(self, head: &[&str], rows: &[Vec<Cell>]) -> String {
        let head: Vec<_> = head.iter().map(|text| Cell::plain(*text)).collect();
        let lines: Vec<&Vec<Cell>> = std::iter::once(&head).chain(rows).collect();
        let width = |column: usize| {
            let cells = lines.iter().filter_map(|line| line.get(column));
            cells.map(|cell| cell.text.chars().count()).max()
        };
        let mut out = String::new();
        for line in &lines {
            let mut row = String::new();
            for (column, cell) in line.iter().enumerate() {
                row += &self.paint(&cell.text, cell.mood);
                if column + 1 < line.len() {
                    let gap = width(column).unwrap_or_default() + 2 - cell.text.chars().count();
                    row += &" ".repeat(gap);
                }
            }
            out += row.trim_end();
            out += "\n";
        }
        out
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_stand_under_each_other_with_and_without_colour() {
        let rows = [vec![Cell::plain("hello"), Cell::new("True", Mood::Good)]];
        assert_eq!(
            Style::PLAIN.table(&["NAME", "READY"], &rows),
            "NAME   READY\nhello  True\n"
        );
        let coloured = Style { colour: true }.table(&["NAME", "READY"], &rows);
        assert_eq!(coloured, "NAME   READY\nhello  \x1b[32mTrue\x1b[0m\n");
    }
}
