//! Lines over an axis as SVG, drawn by plotters without any font of its own: the reader's browser has them.

use plotters::prelude::*;

/// Width and height of a plot, pixels.
const SIZE: (u32, u32) = (700, 290);
const COLOURS: [RGBColor; 8] = [
    RGBColor(31, 119, 180),
    RGBColor(214, 39, 40),
    RGBColor(44, 160, 44),
    RGBColor(255, 127, 14),
    RGBColor(148, 103, 189),
    RGBColor(140, 86, 75),
    RGBColor(23, 190, 207),
    RGBColor(127, 127, 127),
];

/// A line with a name.
#[derive(Clone, Debug, PartialEq)]
pub struct Line {
    /// In the legend.
    pub name: String,
    /// In the order of x; what is no number is left out.
    pub points: Vec<(f64, f64)>,
}

/// A plot.
#[derive(Clone, Debug, PartialEq)]
pub struct Plot {
    /// What stands above it.
    pub title: String,
    /// What the axes mean.
    pub axes: (String, String),
    /// How places on the x axis are written.
    pub ticks: Ticks,
    /// At most eight are told apart by colour.
    pub lines: Vec<Line>,
}

/// How places on the x axis are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ticks {
    /// Plain numbers.
    Plain,
    /// x is the number of nines: 1 stands for 90 %, 2 for 99 %.
    Nines,
}

impl Plot {
    /// As an SVG element; `None` when there is nothing to draw.
    pub fn svg(&self) -> Option<String> {
        let lines: Vec<Line> =
            self.lines.iter().map(Line::finite).filter(|line| !line.points.is_empty()).collect();
        let points = || lines.iter().flat_map(|line| &line.points);
        let (first, last) = range(points().map(|(x, _)| *x))?;
        let (_, top) = range(points().map(|(_, y)| *y))?;
        let mut svg = String::new();
        self.draw(&lines, (first, last.max(first + 1e-6)), top.max(1e-6) * 1.05, &mut svg)?;
        Some(svg)
    }

    fn draw(&self, lines: &[Line], x: (f64, f64), top: f64, svg: &mut String) -> Option<()> {
        // Drawing into a string cannot fail; the library's errors are its backends'.
        let area = SVGBackend::with_string(svg, SIZE).into_drawing_area();
        area.fill(&WHITE).ok()?;
        let mut chart = ChartBuilder::on(&area)
            .caption(&self.title, ("sans-serif", 16))
            .margin(8)
            .x_label_area_size(36)
            .y_label_area_size(64)
            .build_cartesian_2d(x.0..x.1, 0.0..top)
            .ok()?;
        let ticks = self.ticks;
        // So few that they stand at whole numbers of nines.
        let labels = if ticks == Ticks::Nines { x.1.floor() as usize + 1 } else { 10 };
        chart
            .configure_mesh()
            .light_line_style(RGBColor(240, 240, 240))
            .x_desc(&self.axes.0)
            .y_desc(&self.axes.1)
            .x_labels(labels.max(2))
            .x_label_formatter(&|x| ticks.show(*x))
            .draw()
            .ok()?;
        for (line, colour) in lines.iter().zip(COLOURS.iter().cycle()) {
            chart
                .draw_series(LineSeries::new(line.points.iter().copied(), colour.stroke_width(2)))
                .ok()?
                .label(&line.name)
                .legend(move |(x, y)| PathElement::new([(x, y), (x + 18, y)], colour.stroke_width(2)));
        }
        let labels = SeriesLabelPosition::UpperLeft;
        chart
            .configure_series_labels()
            .position(labels)
            .background_style(WHITE.mix(0.8))
            .border_style(RGBColor(200, 200, 200))
            .draw()
            .ok()?;
        area.present().ok()
    }
}

impl Line {
    fn finite(&self) -> Self {
        let points = self.points.iter().copied().filter(|(x, y)| x.is_finite() && y.is_finite()).collect();
        Self { name: self.name.clone(), points }
    }
}

impl Ticks {
    fn show(self, x: f64) -> String {
        match self {
            Self::Plain if x == x.trunc() => format!("{x:.0}"),
            Self::Plain => format!("{x:.1}"),
            Self::Nines => {
                let percent = 100.0 - 100.0 / 10_f64.powf(x);
                let digits = (x.ceil() - 2.0).max(0.0) as usize + usize::from(x != x.trunc());
                format!("{percent:.digits$} %")
            }
        }
    }
}

/// The least and the greatest.
fn range(values: impl Iterator<Item = f64>) -> Option<(f64, f64)> {
    values.fold(None, |known, value| {
        let (low, high) = known.unwrap_or((value, value));
        Some((low.min(value), high.max(value)))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plot(points: Vec<(f64, f64)>) -> Plot {
        Plot {
            title: "Latency & <more>".to_owned(),
            axes: ("seconds".to_owned(), "ms".to_owned()),
            ticks: Ticks::Plain,
            lines: vec![Line { name: "p99".to_owned(), points }],
        }
    }

    #[test]
    fn lines_become_a_picture_and_holes_are_left_out() {
        let svg = plot(vec![(0.0, 1.0), (1.0, f64::NAN), (2.0, 3.0)]).svg().expect("something to draw");
        assert!(svg.starts_with("<svg") && svg.trim_end().ends_with("</svg>"));
        assert!(svg.contains("polyline") && svg.contains("&lt;more&gt;"), "{svg}");
        assert_eq!(plot(vec![]).svg(), None);
        assert_eq!(plot(vec![(0.0, f64::INFINITY)]).svg(), None);
        assert!(plot(vec![(5.0, 0.0)]).svg().is_some(), "one point, at zero");
    }

    #[test]
    fn nines_are_written_as_percentiles() {
        assert_eq!([0.0, 1.0, 2.0, 3.0].map(|x| Ticks::Nines.show(x)), ["0 %", "90 %", "99 %", "99.9 %"]);
    }
}
