//! The table of one comparison.

use std::fmt;

use anyhow::Result;

use crate::measure::Taken;

/// What a row is there for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Role {
    /// What the others are compared with.
    Ours,
    /// Another way of ours.
    Variant,
    /// Somebody else's.
    Rival,
    /// What nobody can be faster than.
    Bound,
}

struct Row {
    name: String,
    role: Role,
    runs: Vec<Taken>,
}

/// Rows of runs, in the order in which they first came.
pub(crate) struct Board {
    title: String,
    bytes: u64,
    rows: Vec<Row>,
    left_out: Vec<String>,
}

impl Board {
    pub(crate) fn new(title: impl Into<String>, bytes: u64) -> Self {
        Self { title: title.into(), bytes, rows: Vec::new(), left_out: Vec::new() }
    }

    /// Adds a run. One of ours must succeed; another's that fails is told, and its row left out.
    pub(crate) fn add(&mut self, name: &str, role: Role, run: Result<Taken>) -> Result<()> {
        let taken = match run {
            Ok(taken) => taken,
            Err(error) if role == Role::Rival => {
                self.left_out.push(format!("{name} failed: {error:#}"));
                return Ok(());
            }
            Err(error) => return Err(error.context(format!("{name} failed"))),
        };
        match self.rows.iter_mut().find(|row| row.name == name) {
            Some(row) => row.runs.push(taken),
            None => self.rows.push(Row { name: name.to_owned(), role, runs: vec![taken] }),
        }
        Ok(())
    }

    fn best(&self, role: Role, better: impl Fn(f64, f64) -> bool) -> Option<&Row> {
        let of_role = self.rows.iter().filter(|row| row.role == role);
        of_role.reduce(|best, row| if better(row.median_s(), best.median_s()) { row } else { best })
    }
}

impl Row {
    /// The lower one of two in the middle.
    fn median_s(&self) -> f64 {
        let mut times: Vec<_> = self.runs.iter().map(|taken| taken.time).collect();
        times.sort();
        times[(times.len() - 1) / 2].as_secs_f64()
    }

    fn peak_mib(&self) -> Option<f64> {
        let peak = self.runs.iter().filter_map(|taken| taken.peak_bytes).max()?;
        Some(peak as f64 / f64::from(1 << 20))
    }
}

impl fmt::Display for Board {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "\n{}", self.title)?;
        writeln!(f, "  {:44} {:>8} {:>6} {:>8} {:>10}", "", "s", "MB/s", "x ours", "peak MiB")?;
        let ours = self.rows.iter().find(|row| row.role == Role::Ours);
        for row in &self.rows {
            let (name, median) = (&row.name, row.median_s());
            let rate = self.bytes as f64 / median / 1e6;
            let times = ours.map_or(String::new(), |ours| format!("{:.2}", median / ours.median_s()));
            let peak = row.peak_mib().map_or(String::new(), |peak| format!("{peak:.1}"));
            let runs: Vec<_> = row.runs.iter().map(|taken| format!("{:.3}", taken.time.as_secs_f64())).collect();
            writeln!(f, "  {name:44} {median:8.3} {rate:6.0} {times:>8} {peak:>10}  [{}]", runs.join(" "))?;
        }
        for told in &self.left_out {
            writeln!(f, "  {told}")?;
        }
        let Some(ours) = ours else { return Ok(()) };
        if let Some(rival) = self.best(Role::Rival, |a, b| a < b) {
            let times = rival.median_s() / ours.median_s();
            writeln!(f, "  {}: {times:.2} times as fast as the fastest other ({})", ours.name, rival.name)?;
        }
        // The slowest of what must be done bounds all of it.
        if let Some(bound) = self.best(Role::Bound, |a, b| a > b) {
            let percent = 100.0 * bound.median_s() / ours.median_s();
            writeln!(f, "  {}: at {percent:.0} % of the bound ({})", ours.name, bound.name)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use anyhow::anyhow;

    use super::*;

    fn took(ms: u64, peak_bytes: Option<u64>) -> Result<Taken> {
        Ok(Taken { time: Duration::from_millis(ms), peak_bytes })
    }

    #[test]
    fn every_run_is_told_with_its_ratio() {
        let mut board = Board::new("packing, 1 MB", 1_000_000);
        for ms in [300, 100, 200] {
            board.add("ours", Role::Ours, took(ms, Some(ms << 20))).unwrap();
            board.add("theirs", Role::Rival, took(3 * ms, Some(1 << 20))).unwrap();
            board.add("slower", Role::Rival, took(9 * ms, None)).unwrap();
            board.add("bound", Role::Bound, took(ms / 2, None)).unwrap();
            board.add("tighter bound", Role::Bound, took(ms - 20, None)).unwrap();
        }
        board.add("broken", Role::Rival, Err(anyhow!("no room"))).unwrap();
        let text = board.to_string();
        let lines: Vec<_> = text.lines().map(str::trim).collect();
        let words = |line: &str| line.split_whitespace().map(str::to_owned).collect::<Vec<_>>().join(" ");
        assert_eq!(lines[1], "packing, 1 MB");
        assert_eq!(words(lines[3]), "ours 0.200 5 1.00 300.0 [0.300 0.100 0.200]");
        assert_eq!(words(lines[4]), "theirs 0.600 2 3.00 1.0 [0.900 0.300 0.600]");
        assert_eq!(words(lines[5]), "slower 1.800 1 9.00 [2.700 0.900 1.800]");
        assert_eq!(lines[8], "broken failed: no room");
        assert_eq!(lines[9], "ours: 3.00 times as fast as the fastest other (theirs)");
        assert_eq!(lines[10], "ours: at 90 % of the bound (tighter bound)");
    }

    #[test]
    fn ours_must_not_fail() {
        let mut board = Board::new("", 1);
        board.add("ours", Role::Ours, Err(anyhow!("no"))).unwrap_err();
        board.add("bound", Role::Bound, Err(anyhow!("no"))).unwrap_err();
    }
}
