//! Plots as SVG text, styled by the page's classes.

use std::fmt::Write as _;

const WIDTH: f64 = 480.0;
const HEIGHT: f64 = 290.0;
const LEFT: f64 = 62.0;
const RIGHT: f64 = 12.0;
const TOP: f64 = 12.0;
const BOTTOM: f64 = 42.0;
/// With more decades between the quantiles, the median is too close to 0.
const MOST_DECADES_WITH_MEDIAN: f64 = 3.1;
/// As much room as a character of a tick's text takes.
const DIGIT_WIDTH: f64 = 7.7;
/// As many colours as the page has classes for.
const COLOURS: usize = 8;
/// More points than this are thinned out: a screen shows no more.
const MOST_POINTS: usize = 1_500;

/// How values are laid out along an axis.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Scale {
    /// From 0.
    Linear,
    Logarithmic,
    /// Quantiles, with as much room from 90 to 99 % as from 99 to 99.9 %.
    Quantile,
}

/// One line of a plot.
pub(super) struct Series {
    pub(super) name: String,
    pub(super) points: Vec<(f64, f64)>,
    pub(super) is_dashed: bool,
}

pub(super) struct Plot {
    pub(super) title: String,
    pub(super) x: (Scale, &'static str),
    pub(super) y: (Scale, &'static str),
    /// Writes a value of the y axis.
    pub(super) format_y: fn(f64) -> String,
    pub(super) series: Vec<Series>,
}

/// An axis with its range, as the scale transforms it.
struct Axis {
    scale: Scale,
    low: f64,
    high: f64,
}

impl Axis {
    fn new(scale: Scale, values: impl Iterator<Item = f64>) -> Self {
        let (mut low, mut high) = (f64::INFINITY, f64::NEG_INFINITY);
        for value in values.filter_map(|value| transform(scale, value)) {
            low = low.min(value);
            high = high.max(value);
        }
        match scale {
            _ if low > high => (low, high) = (0.0, 1.0),
            Scale::Linear => (low, high) = (low.min(0.0), if high > 0.0 { high * 1.05 } else { 1.0 }),
            Scale::Quantile => (low, high) = (0.0, high.max(1.0)),
            Scale::Logarithmic => (low, high) = (low.floor(), high.ceil().max(low.floor() + 1.0)),
        }
        Self { scale, low, high }
    }

    /// Where a value lies, 0 to 1.
    fn place(&self, value: f64) -> Option<f64> {
        let place = (transform(self.scale, value)? - self.low) / (self.high - self.low);
        place.is_finite().then(|| place.clamp(0.0, 1.0))
    }

    fn ticks(&self) -> Vec<f64> {
        // A tick at the very end must not be lost to rounding.
        let whole = |from: f64, to: f64| (from as i32..=(to + 1e-6) as i32).map(f64::from);
        match self.scale {
            Scale::Linear => {
                let rough = (self.high - self.low) / 5.0;
                let power = 10_f64.powf(rough.log10().floor());
                let step = [1.0, 2.0, 5.0, 10.0]
                    .map(|factor| factor * power)
                    .into_iter()
                    .find(|step| *step >= rough);
                let step = step.unwrap_or(rough);
                whole(0.0, (self.high / step).floor()).map(|number| number * step).collect()
            }
            Scale::Logarithmic => whole(self.low, self.high).map(|power| 10_f64.powf(power)).collect(),
            Scale::Quantile => {
                let mut ticks: Vec<f64> =
                    whole(0.0, self.high).map(|nines| 1.0 - 10_f64.powf(-nines)).collect();
                // Over more decades there is no room for its text.
                if self.high <= MOST_DECADES_WITH_MEDIAN {
                    ticks.insert(1, 0.5);
                }
                ticks
            }
        }
    }
}

fn transform(scale: Scale, value: f64) -> Option<f64> {
    let transformed = match scale {
        Scale::Linear => value,
        Scale::Logarithmic => value.log10(),
        Scale::Quantile => -(1.0 - value).log10(),
    };
    transformed.is_finite().then_some(transformed)
}

/// `0 %`, `90 %`, `99.9 %`.
fn quantile_text(quantile: f64) -> String {
    let digits = (-(1.0 - quantile).log10()).round().max(2.0) as usize - 2;
    format!("{:.digits$} %", quantile * 100.0)
}

fn short_number(value: f64) -> String {
    let text = format!("{value:.3}");
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

impl Plot {
    /// The figure, or nothing where no series has two points.
    pub(super) fn draw(&self) -> String {
        let drawn: Vec<(usize, &Series)> =
            self.series.iter().enumerate().filter(|(_, series)| series.points.len() > 1).collect();
        if drawn.is_empty() {
            return String::new();
        }
        let points = || drawn.iter().flat_map(|(_, series)| &series.points);
        let x = Axis::new(self.x.0, points().map(|point| point.0));
        let y = Axis::new(self.y.0, points().map(|point| point.1));
        let mut svg = self.frame(&x, &y);
        for (index, series) in &drawn {
            let path = path(&series.points, &x, &y);
            let dashed = if series.is_dashed { " dashed" } else { "" };
            let name = escape(&series.name);
            // Writing to a string can't fail.
            let _written = write!(
                svg,
                "<path class=\"line c{}{dashed}\" d=\"{path}\"><title>{name}</title></path>",
                index % COLOURS
            );
        }
        svg += "</svg>";
        let keys = drawn.iter().map(|(index, series)| {
            let broken = if series.is_dashed { " broken" } else { "" };
            format!(
                "<li><span class=\"key k{}{broken}\"></span>{}</li>",
                index % COLOURS,
                escape(&series.name)
            )
        });
        let keys: String = keys.collect();
        format!(
            "<figure><figcaption>{}</figcaption>{svg}<ul class=\"keys\">{keys}</ul></figure>",
            escape(&self.title)
        )
    }

    /// The opening tag, grid, ticks and names of the axes.
    fn frame(&self, x: &Axis, y: &Axis) -> String {
        let (right, bottom) = (WIDTH - RIGHT, HEIGHT - BOTTOM);
        let mut svg = format!(
            "<svg viewBox=\"0 0 {WIDTH} {HEIGHT}\" role=\"img\" aria-label=\"{}\">",
            escape(&self.title)
        );
        // Writing to a string can't fail.
        for tick in y.ticks() {
            let Some(place) = y.place(tick) else { continue };
            let at = bottom - place * (bottom - TOP);
            let text = (self.format_y)(tick);
            let _written = write!(
                svg,
                "<path class=\"grid\" d=\"M{LEFT} {at:.1}H{right}\"/><text class=\"end\" x=\"{}\" y=\"{:.1}\">{}</text>",
                LEFT - 6.0,
                at + 4.0,
                escape(&text)
            );
        }
        for tick in x.ticks() {
            let Some(place) = x.place(tick) else { continue };
            let at = LEFT + place * (right - LEFT);
            let text = if x.scale == Scale::Quantile { quantile_text(tick) } else { short_number(tick) };
            // A long text at the right end would stick out.
            let half = text.chars().count() as f64 * DIGIT_WIDTH / 2.0;
            let (class, text_at) = if at + half > WIDTH { ("end", WIDTH - 1.0) } else { ("middle", at) };
            let _written = write!(
                svg,
                "<path class=\"grid\" d=\"M{at:.1} {TOP}V{bottom}\"/><text class=\"{class}\" x=\"{text_at:.1}\" y=\"{}\">{text}</text>",
                bottom + 16.0
            );
        }
        let _written = write!(
            svg,
            "<path class=\"axis\" d=\"M{LEFT} {TOP}V{bottom}H{right}\"/><text class=\"middle name\" x=\"{}\" y=\"{}\">{}</text><text class=\"middle name\" transform=\"translate(11 {}) rotate(-90)\">{}</text>",
            f64::midpoint(LEFT, right),
            HEIGHT - 6.0,
            self.x.1,
            f64::midpoint(TOP, bottom),
            self.y.1
        );
        svg
    }
}

fn path(points: &[(f64, f64)], x: &Axis, y: &Axis) -> String {
    let mut path = String::new();
    let step = points.len().div_ceil(MOST_POINTS).max(1);
    for (index, point) in points.iter().enumerate() {
        let is_kept = index % step == 0 || index + 1 == points.len();
        let (true, Some(across), Some(up)) = (is_kept, x.place(point.0), y.place(point.1)) else { continue };
        let across = LEFT + across * (WIDTH - RIGHT - LEFT);
        let up = HEIGHT - BOTTOM - up * (HEIGHT - BOTTOM - TOP);
        let verb = if path.is_empty() { 'M' } else { 'L' };
        // Writing to a string can't fail.
        let _written = write!(path, "{verb}{across:.1} {up:.1}");
    }
    path
}

/// Horizontal bars, each with a text at its end.
pub(super) struct Bars {
    pub(super) title: String,
    /// Name, length and text.
    pub(super) bars: Vec<(String, f64, String)>,
    /// How long the longest bar could be; without, the longest takes the whole width.
    pub(super) whole: Option<f64>,
}

impl Bars {
    pub(super) fn draw(&self) -> String {
        const ROW: f64 = 34.0;
        let lengths = self.bars.iter().map(|bar| bar.1).filter(|length| length.is_finite());
        let whole = lengths.chain(self.whole).fold(0.0, f64::max);
        if self.bars.is_empty() || whole <= 0.0 {
            return String::new();
        }
        let height = ROW * self.bars.len() as f64 + 4.0;
        let mut svg = format!(
            "<svg viewBox=\"0 0 {WIDTH} {height}\" role=\"img\" aria-label=\"{}\">",
            escape(&self.title)
        );
        for (index, (name, length, text)) in self.bars.iter().enumerate() {
            let top = ROW * index as f64;
            let width = if length.is_finite() { length / whole * WIDTH } else { 0.0 };
            // Writing to a string can't fail.
            let _written = write!(
                svg,
                "<text x=\"0\" y=\"{:.1}\">{}</text><text class=\"end\" x=\"{WIDTH}\" y=\"{:.1}\">{}</text><rect class=\"bar b{}\" x=\"0\" y=\"{:.1}\" width=\"{width:.1}\" height=\"12\" rx=\"2\"/>",
                top + 13.0,
                escape(name),
                top + 13.0,
                escape(text),
                index % COLOURS,
                top + 17.0
            );
        }
        format!("<figure><figcaption>{}</figcaption>{svg}</svg></figure>", escape(&self.title))
    }
}

/// Text that is safe within elements and attributes.
pub(super) fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => escaped += "&amp;",
            '<' => escaped += "&lt;",
            '>' => escaped += "&gt;",
            '"' => escaped += "&quot;",
            '\'' => escaped += "&#39;",
            c if c.is_control() => escaped.push('\u{fffd}'),
            c => escaped.push(c),
        }
    }
    escaped
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ticks_are_round_and_in_range() {
        let ticks = |scale, values: &[f64]| Axis::new(scale, values.iter().copied()).ticks();
        assert_eq!(ticks(Scale::Linear, &[3.0, 470.0]), [0.0, 100.0, 200.0, 300.0, 400.0]);
        assert_eq!(ticks(Scale::Logarithmic, &[30.0, 4e3]), [10.0, 100.0, 1e3, 1e4]);
        let quantiles: Vec<_> =
            ticks(Scale::Quantile, &[0.0, 0.999]).into_iter().map(quantile_text).collect();
        assert_eq!(quantiles, ["0 %", "50 %", "90 %", "99 %", "99.9 %"]);
        assert_eq!(ticks(Scale::Linear, &[]), [0.0, 0.2, 0.4, 0.6000000000000001, 0.8, 1.0]);
        assert!(Axis::new(Scale::Logarithmic, [0.0].into_iter()).place(0.0).is_none());
    }

    #[test]
    fn lines_stay_within_the_frame_and_names_are_text() {
        let plot = Plot {
            title: "a <b>".to_owned(),
            x: (Scale::Quantile, "x"),
            y: (Scale::Logarithmic, "y"),
            format_y: short_number,
            series: vec![Series {
                name: "<script>".to_owned(),
                points: vec![(0.0, 10.0), (0.5, 1e3), (0.99, 1e4), (1.0, 1e9)],
                is_dashed: false,
            }],
        };
        let svg = plot.draw();
        assert!(!svg.contains("<script") && svg.contains("&lt;script&gt;"), "{svg}");
        // The quantile 1 has no place on this axis.
        assert!(svg.contains("d=\"M62.0 248.0L123.1 189.0L468.0 159.5\""), "{svg}");
        assert_eq!(svg.matches('L').count(), 2, "{svg}");
        let empty = Plot { series: Vec::new(), ..plot };
        assert_eq!(empty.draw(), "");
    }
}
