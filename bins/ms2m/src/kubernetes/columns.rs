//! Tables for people.

use std::io::{self, Write};

/// Each column as wide as its widest cell; nothing at the end of a line.
pub(super) fn columns<const N: usize>(out: &mut impl Write, rows: &[[String; N]]) -> io::Result<()> {
    let width = |column: usize| rows.iter().map(|row| row[column].chars().count()).max().unwrap_or_default();
    let widths: [usize; N] = std::array::from_fn(width);
    for row in rows {
        let cells: Vec<_> = row.iter().zip(widths).map(|(cell, width)| format!("{cell:width$}")).collect();
        writeln!(out, "{}", cells.join("  ").trim_end())?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cells_stand_under_one_another() {
        let mut out = Vec::new();
        columns(&mut out, &[["a", "bb", ""], ["ccc", "d", "e"]].map(|row| row.map(str::to_owned))).unwrap();
        assert_eq!(String::from_utf8(out).unwrap(), "a    bb\nccc  d   e\n");
    }
}
