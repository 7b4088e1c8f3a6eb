//! Sizes as people read them.

/// `bytes` in the unit that fits.
pub(super) fn human(bytes: u64) -> String {
    const UNITS: [&str; 5] = ["B", "KiB", "MiB", "GiB", "TiB"];
    let unit = (0..UNITS.len() - 1).take_while(|unit| bytes >> (10 * (unit + 1)) > 0).count();
    if unit == 0 {
        return format!("{bytes} B");
    }
    let tenths = (u128::from(bytes) * 10) >> (10 * unit);
    if tenths < 100 { format!("{}.{} {}", tenths / 10, tenths % 10, UNITS[unit]) } else { format!("{} {}", tenths / 10, UNITS[unit]) }
}

#[cfg(test)]
mod tests {
    use super::human;

    #[test]
    fn sizes_have_the_unit_that_fits() {
        let shown: Vec<_> = [0, 1023, 1024, 1536, 10 << 20, 64 << 30, u64::MAX].map(human).to_vec();
        assert_eq!(shown, ["0 B", "1023 B", "1.0 KiB", "1.5 KiB", "10 MiB", "64 GiB", "16777215 TiB"]);
    }
}
