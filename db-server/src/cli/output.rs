//! Lines on stdout, whose reader may go away.

use std::fmt::Display;
use std::io::{BufWriter, StdoutLock, Write, stdout};

use crate::error::CliError;

/// Writes lines to stdout and says when nobody reads them any more.
pub(crate) struct Output(BufWriter<StdoutLock<'static>>);

impl Output {
    /// Takes stdout for this command.
    pub(crate) fn new() -> Self {
        Self(BufWriter::new(stdout().lock()))
    }

    /// Writes one line.
    ///
    /// # Errors
    /// If stdout cannot be written.
    pub(crate) fn line(&mut self, text: impl Display) -> Result<(), CliError> {
        writeln!(self.0, "{text}").map_err(CliError::io("stdout"))
    }

    /// Writes a table: columns as wide as their widest cell.
    ///
    /// # Errors
    /// If stdout cannot be written.
    pub(crate) fn table<const COLUMNS: usize>(
        &mut self,
        head: [&str; COLUMNS],
        rows: &[[String; COLUMNS]],
    ) -> Result<(), CliError> {
        let mut widths = head.map(|cell| cell.chars().count());
        for row in rows {
            for (width, cell) in widths.iter_mut().zip(row) {
                *width = (*width).max(cell.chars().count());
            }
        }
        let heads = head.map(str::to_owned);
        for row in std::iter::once(&heads).chain(rows) {
            let cells: Vec<String> =
                row.iter().zip(widths).map(|(cell, width)| format!("{cell:width$}")).collect();
            self.line(cells.join("  ").trim_end())?;
        }
        Ok(())
    }

    /// Hands everything written so far to the reader.
    ///
    /// # Errors
    /// If stdout cannot be written.
    pub(crate) fn flush(&mut self) -> Result<(), CliError> {
        self.0.flush().map_err(CliError::io("stdout"))
    }
}

/// A number with its thousands set apart.
pub(crate) fn thousands(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::with_capacity(digits.len() * 4 / 3);
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn thousands_are_set_apart() {
        let written: Vec<_> = [0, 12, 999, 1_000, 36_273, 1_234_567].into_iter().map(thousands).collect();
        assert_eq!(written, ["0", "12", "999", "1,000", "36,273", "1,234,567"]);
    }
}
