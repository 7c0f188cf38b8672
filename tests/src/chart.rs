//! Charts of benchmarks, for the docs.

use std::path::Path;

use anyhow::{Context, Result};
use plotters::prelude::*;

const SIZE: (u32, u32) = (760, 440);
const FONT: &str = "sans-serif";

/// One line of a chart.
pub struct Series {
    /// What the legend calls it.
    pub name: String,
    /// Each above zero, since both axes are logarithmic.
    pub points: Vec<(f64, f64)>,
}

/// What a chart shows.
pub struct Chart<'c> {
    /// Above the chart.
    pub title: &'c str,
    /// What the horizontal axis counts.
    pub x: &'c str,
    /// What the vertical axis counts.
    pub y: &'c str,
}

impl Chart<'_> {
    /// Writes the chart as an SVG file. Both axes are logarithmic: ratios are distances.
    ///
    /// # Errors
    /// There is no point, or the file cannot be written.
    pub fn write(&self, path: &Path, series: &[Series]) -> Result<()> {
        let points = || series.iter().flat_map(|series| &series.points);
        let (x, y) = (
            range(points().map(|(x, _)| *x)).context("a chart without points")?,
            range(points().map(|(_, y)| *y)).context("a chart without points")?,
        );
        let area = SVGBackend::new(path, SIZE).into_drawing_area();
        area.fill(&WHITE)?;
        let mut chart = ChartBuilder::on(&area)
            .caption(self.title, (FONT, 18))
            .margin(12)
            .x_label_area_size(42)
            .y_label_area_size(64)
            .build_cartesian_2d(x.log_scale(), y.log_scale())?;
        let number = |value: &f64| match *value >= 10.0 {
            true => format!("{value:.0}"),
            false => format!("{value}"),
        };
        chart
            .configure_mesh()
            .x_desc(self.x)
            .y_desc(self.y)
            .x_label_formatter(&number)
            .y_label_formatter(&number)
            .label_style((FONT, 13))
            .draw()?;
        for (index, Series { name, points }) in series.iter().enumerate() {
            let style = Palette99::pick(index).stroke_width(2);
            let line = LineSeries::new(points.iter().copied(), style).point_size(3);
            chart
                .draw_series(line)?
                .label(name)
                .legend(move |(x, y)| PathElement::new([(x, y), (x + 18, y)], style));
        }
        chart
            .configure_series_labels()
            .background_style(WHITE)
            .border_style(BLACK)
            .label_font((FONT, 13))
            .position(SeriesLabelPosition::UpperLeft)
            .draw()?;
        area.present()?;
        Ok(())
    }
}

/// From somewhat below the smallest to somewhat above the largest.
fn range(values: impl Iterator<Item = f64> + Clone) -> Option<std::ops::Range<f64>> {
    let least = values.clone().reduce(f64::min)?;
    let most = values.reduce(f64::max)?;
    Some(least / 1.2..most * 1.2)
}
