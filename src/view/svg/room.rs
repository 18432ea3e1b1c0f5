//! How much room the panels of a figure have: a width, if one was asked for, and then the height of a page for all of them.

/// What the panels of a figure are laid out for.
#[derive(Clone, Copy, Debug)]
pub(super) struct Room {
    /// Pixels across, where a width was asked for.
    pub width: Option<f64>,
    /// How many panels stand under each other.
    pub panels: usize,
}

/// Pixels of a page of 24 cm without a title.
const PAGE: f64 = 24.0 / 2.54 * 96.0 - 60.0;
/// A caption takes so many of them: the more lines, the narrower it is.
const CAPTION: f64 = 40_000.0;
/// A panel has at least so much of it: 5 cm.
const LEAST: f64 = 5.0 / 2.54 * 96.0;
/// What stands over and below a plot or a grid: heading, labels, names of axes.
const AROUND: f64 = 100.0;
/// How high a plot is beside its width: alone, and where others stand below it.
const ASPECT: (f64, f64) = (0.62, 0.46);
/// No plot is lower.
const LOWEST: f64 = 110.0;

impl Room {
    /// How high a plot or grid may be.
    pub fn most(self) -> f64 {
        match self.width {
            Some(width) => ((PAGE - CAPTION / width.max(100.0)) / self.panels.max(1) as f64).max(LEAST) - AROUND,
            None => f64::INFINITY,
        }
    }

    /// The height of a plot that has `own` by itself.
    pub fn plot(self, own: f64) -> f64 {
        let aspect = if self.panels > 1 { ASPECT.1 } else { ASPECT.0 };
        self.width.map_or(own, |width| (aspect * width).min(self.most()).clamp(LOWEST, own).round())
    }

    /// The height of a row of `rows`, which has `own` by itself, but at least `least`.
    pub fn row(self, own: f64, rows: usize, least: f64) -> f64 {
        own.min((self.most().max(LOWEST) / rows.max(1) as f64).max(least))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// At a width, a plot is never higher than wide, and several together go on a page.
    #[test]
    fn plots_keep_their_shape_and_a_page_holds_them() {
        for width in [300.0, 640.0] {
            for panels in 1..=4 {
                let high = Room { width: Some(width), panels }.plot(230.0);
                assert!(high < 0.7 * width && high >= 110.0, "{panels} at {width}: {high}");
                // 24 cm are 907 pixels.
                assert!(panels as f64 * (high + 70.0) <= 907.0 - 70.0, "{panels} at {width}: {high}");
            }
        }
        assert_eq!(Room { width: None, panels: 3 }.plot(230.0), 230.0);
    }

    #[test]
    fn rows_get_lower_and_stay_rows() {
        let row = |width, panels, rows| Room { width, panels }.row(14.0, rows, 4.0);
        assert_eq!((row(None, 5, 300), row(Some(300.0), 1, 10)), (14.0, 14.0));
        assert!(row(Some(300.0), 1, 60) * 60.0 <= 800.0);
        assert_eq!(row(Some(300.0), 5, 300), 4.0);
    }
}
