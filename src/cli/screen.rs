//! A table that is drawn anew each second, or once.
//!
//! Invariant: no more is drawn than the terminal has room for, however small it is. It does not know what is in the table.

use super::access::shown;
use console::Term;
use std::io::{self, Write};

/// To the upper left corner.
const HOME: &str = "\x1b[H";
const CLEAR: &str = "\x1b[2J";
const CLEAR_LINE: &str = "\x1b[K";
const CLEAR_BELOW: &str = "\x1b[J";

/// Between columns.
const GAP: &str = "  ";

/// Of a text that gives way to numbers.
const TEXT_CHARS_MIN: usize = 12;

/// Lines for people.
pub(super) struct Table {
    /// Above the columns.
    pub(super) title: Vec<String>,
    pub(super) columns: Vec<Column>,
    pub(super) rows: Vec<Vec<String>>,
}

pub(super) struct Column {
    pub(super) title: &'static str,
    pub(super) side: Side,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Side {
    Left,
    Right,
}

/// In characters.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Size {
    pub(super) rows: usize,
    pub(super) columns: usize,
}

pub(super) const fn left(title: &'static str) -> Column {
    Column {
        title,
        side: Side::Left,
    }
}

pub(super) const fn right(title: &'static str) -> Column {
    Column {
        title,
        side: Side::Right,
    }
}

/// Whether standard output is a terminal.
pub(super) fn is_terminal() -> bool {
    Term::stdout().is_term()
}

pub(super) fn size() -> Size {
    let (rows, columns) = Term::stdout().size();
    Size {
        rows: rows.into(),
        columns: columns.into(),
    }
}

impl Table {
    pub(super) fn print(&self, output: &mut impl Write) -> io::Result<()> {
        self.lines(None)
            .iter()
            .try_for_each(|line| writeln!(output, "{line}"))?;
        output.flush()
    }

    /// In the place of what was drawn before, as far as there is room.
    pub(super) fn draw(&self, output: &mut impl Write, size: Size, first: bool) -> io::Result<()> {
        let lines = self.lines(Some(size.columns));
        let mut text = String::from(HOME);
        if first {
            text += CLEAR;
        }
        for line in fitted(lines, size) {
            text += &line;
            text += CLEAR_LINE;
            text += "\r\n";
        }
        text += CLEAR_BELOW;
        output.write_all(text.as_bytes())?;
        output.flush()
    }

    /// As wide as it is, or no wider than the room there is, as far as texts can give way to numbers.
    fn lines(&self, room: Option<usize>) -> Vec<String> {
        let widths = self.widths(room);
        let titles = self
            .columns
            .iter()
            .map(|column| column.title.to_owned())
            .collect();
        let rows = std::iter::once(&titles).chain(&self.rows);
        let rows = rows.map(|row| self.line(row, &widths));
        self.title.iter().map(|line| shown(line)).chain(rows).collect()
    }

    fn widths(&self, room: Option<usize>) -> Vec<usize> {
        let width = |at: usize, column: &Column| {
            let cells = self.rows.iter().filter_map(|row| row.get(at));
            let widest = cells.map(|cell| cell.chars().count()).max();
            widest.unwrap_or(0).max(column.title.len())
        };
        let columns = self.columns.iter().enumerate();
        let mut widths: Vec<_> = columns.map(|(at, column)| width(at, column)).collect();
        let all = widths.iter().sum::<usize>() + GAP.len() * widths.len().saturating_sub(1);
        let too_much = room.map_or(0, |room| all.saturating_sub(room));
        let text = self.columns.iter().position(|column| column.side == Side::Left);
        if let Some(text) = text {
            widths[text] = widths[text]
                .saturating_sub(too_much)
                .max(TEXT_CHARS_MIN.min(widths[text]));
        }
        widths
    }

    fn line(&self, row: &[String], widths: &[usize]) -> String {
        let cells = row
            .iter()
            .zip(&self.columns)
            .zip(widths)
            .map(|((cell, column), width)| {
                let cell = abridged(&shown(cell), *width);
                match column.side {
                    Side::Left => format!("{cell:<width$}"),
                    Side::Right => format!("{cell:>width$}"),
                }
            });
        cells.collect::<Vec<_>>().join(GAP).trim_end().to_owned()
    }
}

/// Without its middle where it is too long: names of one family differ at their ends.
fn abridged(text: &str, width: usize) -> String {
    const LEFT_OUT: &str = "..";
    let length = text.chars().count();
    if length <= width || width <= LEFT_OUT.len() {
        return text.to_owned();
    }
    let kept = width - LEFT_OUT.len();
    let (first, last) = (kept / 2, kept - kept / 2);
    let beginning = text.chars().take(first);
    let end = text.chars().skip(length - last);
    beginning.chain(LEFT_OUT.chars()).chain(end).collect()
}

/// The last row stays empty for the cursor. Where not all fits, the last line says so.
fn fitted(mut lines: Vec<String>, size: Size) -> Vec<String> {
    let room = size.rows.saturating_sub(1);
    if lines.len() > room {
        let hidden = lines.len() + 1 - room.min(lines.len());
        lines.truncate(room);
        if let Some(last) = lines.last_mut().filter(|_| room > 1) {
            *last = format!(".. {hidden} more lines; --filter and --limit narrow them, --once shows all");
        }
    }
    let cut = |line: String| line.chars().take(size.columns).collect();
    lines.into_iter().map(cut).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table(rows: usize) -> Table {
        Table {
            title: vec!["edge".into()],
            columns: vec![left("name"), right("value")],
            rows: (0..rows)
                .map(|row| vec![format!("row {row}"), row.to_string()])
                .collect(),
        }
    }

    #[test]
    fn columns_are_as_wide_as_what_is_widest_in_them() {
        let mut text = Vec::new();
        table(2).print(&mut text).unwrap();
        assert_eq!(
            String::from_utf8(text).unwrap(),
            "edge\nname   value\nrow 0      0\nrow 1      1\n"
        );
    }

    #[test]
    fn no_terminal_is_too_small() {
        for rows in 0..8 {
            for columns in [0, 1, 5, 200] {
                let mut text = Vec::new();
                table(4).draw(&mut text, Size { rows, columns }, true).unwrap();
                let text = String::from_utf8(text).unwrap();
                assert!(
                    text.matches("\r\n").count() <= rows.saturating_sub(1),
                    "{rows}: {text:?}"
                );
                let lines = fitted(table(4).lines(None), Size { rows, columns });
                assert!(
                    lines.iter().all(|line| line.chars().count() <= columns),
                    "{lines:?}"
                );
            }
        }
        let lines = fitted(table(9).lines(None), Size { rows: 5, columns: 80 });
        assert_eq!(lines[..3], ["edge", "name   value", "row 0      0"]);
        assert!(lines[3].starts_with(".. 8 more lines"), "{lines:?}");
    }

    #[test]
    fn where_there_is_little_room_texts_give_way_to_numbers() {
        let mut wide = table(1);
        wide.rows[0][0] = "aquatint_requests_total{outcome=miss}".into();
        assert_eq!(wide.lines(Some(27))[2], "aquatint_..ome=miss}      0");
        assert_eq!(wide.lines(Some(1))[2], "aquat..miss}      0");
        assert_eq!(wide.lines(Some(200)), wide.lines(None));
    }

    #[test]
    fn what_a_terminal_would_obey_is_not_drawn() {
        let mut evil = table(1);
        evil.rows[0][0] = "\x1b]0;owned\x07".into();
        let mut text = Vec::new();
        evil.print(&mut text).unwrap();
        assert!(!text.contains(&0x1b));
    }
}
