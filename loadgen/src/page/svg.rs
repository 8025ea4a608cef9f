//! Plots as SVG: lines over an axis that is linear or logarithmic.

use std::fmt::Write;

use super::html::{self, SERIES, escape, plot_style};

const WIDTH: f64 = 900.0;
const HEIGHT: f64 = 250.0;
const LEFT: f64 = 64.0;
const RIGHT: f64 = 16.0;
const TOP: f64 = 12.0;
const BOTTOM: f64 = 42.0;
/// Marks on an axis, about.
const TICKS: f64 = 6.0;

/// How values are spread over an axis.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Scale {
    /// From zero, at equal distances.
    Linear,
    /// Decades at equal distances.
    Log,
}

/// An axis.
#[derive(Debug, Clone, Copy)]
pub(super) struct Axis {
    pub(super) label: &'static str,
    pub(super) scale: Scale,
}

/// How a series is drawn.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Mark {
    /// A line through its points.
    Line,
    /// A line through its points, which are shown.
    Dots,
    /// The area under steps from each point to the next.
    Steps,
}

/// A series of points.
#[derive(Debug, Clone)]
pub(super) struct Series {
    pub(super) label: String,
    pub(super) mark: Mark,
    pub(super) points: Vec<(f64, f64)>,
}

/// A plot.
#[derive(Debug)]
pub(super) struct Plot<'a> {
    pub(super) title: &'a str,
    pub(super) note: &'a str,
    pub(super) x: Axis,
    pub(super) y: Axis,
    /// Where the marks of the x axis are; if there are none, at round numbers.
    pub(super) x_ticks: Vec<f64>,
    pub(super) series: Vec<Series>,
}

/// An axis with its bounds and where they lie.
#[derive(Debug, Clone, Copy)]
struct Range {
    scale: Scale,
    low: f64,
    high: f64,
    /// Where the bounds lie in the picture.
    from: f64,
    to: f64,
}

impl Range {
    /// An axis that has room for all `values`; of those a logarithmic one cannot show, none count.
    fn fit(axis: Axis, values: impl Iterator<Item = f64>, from: f64, to: f64) -> Self {
        let shown =
            |value: &f64| value.is_finite() && (axis.scale == Scale::Linear || *value > 0.0);
        let (least, most) =
            values.filter(shown).fold((f64::INFINITY, 0.0), |(least, most): (f64, f64), value| {
                (least.min(value), most.max(value))
            });
        let (low, high) = match axis.scale {
            Scale::Linear => (0.0, if most > 0.0 { most * 1.05 } else { 1.0 }),
            Scale::Log if least.is_finite() => {
                (round_down(least), round_up(most).max(round_down(least) * 10.0))
            }
            Scale::Log => (1.0, 10.0),
        };
        Self { scale: axis.scale, low, high, from, to }
    }

    fn place(&self, value: f64) -> f64 {
        let share = match self.scale {
            Scale::Linear => (value - self.low) / (self.high - self.low),
            Scale::Log => (value.max(self.low) / self.low).log10() / (self.high / self.low).log10(),
        };
        self.from + share.clamp(0.0, 1.0) * (self.to - self.from)
    }

    fn ticks(&self) -> Vec<f64> {
        match self.scale {
            Scale::Linear => {
                let step = step(self.high / TICKS);
                let count = (self.high / step).floor() as u32;
                (0..=count).map(|tick| f64::from(tick) * step).collect()
            }
            Scale::Log => {
                let (low, high) =
                    (self.low.log10().floor() as i32, self.high.log10().ceil() as i32);
                let within: &[f64] = if high - low <= 3 { &[1.0, 2.0, 5.0] } else { &[1.0] };
                (low..=high)
                    .flat_map(|decade| within.iter().map(move |digit| digit * 10_f64.powi(decade)))
                    .filter(|tick| (self.low * 0.999..=self.high * 1.001).contains(tick))
                    .collect()
            }
        }
    }
}

/// The least of 1, 2, 5, 10, … times a power of ten that is not below `least`.
fn step(least: f64) -> f64 {
    let power = 10_f64.powf(least.log10().floor());
    let digit = [1.0, 2.0, 5.0].into_iter().find(|digit| digit * power >= least * 0.999);
    digit.unwrap_or(10.0) * power
}

fn round_down(value: f64) -> f64 {
    let power = 10_f64.powf(value.log10().floor());
    let digit = [5.0, 2.0].into_iter().find(|digit| digit * power <= value);
    digit.unwrap_or(1.0) * power
}

fn round_up(value: f64) -> f64 {
    step(value)
}

/// A tick in as few characters as it takes, and as many as there must be for it to be the number.
fn tick_label(value: f64) -> String {
    /// Digits behind the point beyond which there are no ticks.
    const MOST: usize = 9;
    let is = |rounded: f64| (rounded - value).abs() <= value.abs() * 1e-6;
    let thousands = value / 1000.0;
    if value >= 10_000.0 && is(thousands.round() * 1000.0) {
        return format!("{}k", html::count(thousands.round() as u64));
    }
    if is(value.round()) {
        return html::count(value.round() as u64);
    }
    let exact = |digits: &usize| {
        let power = 10_f64.powi(*digits as i32);
        is((value * power).round() / power)
    };
    let digits = (1..MOST).find(exact).unwrap_or(MOST);
    format!("{value:.digits$}")
}

/// What has been drawn, with its title and the names of its series.
#[derive(Debug)]
pub(super) struct Drawing {
    title: String,
    note: String,
    /// Names of the series; none if there is nothing to tell apart.
    legend: Vec<String>,
    height: f64,
    marks: String,
}

impl Drawing {
    /// As a part of a page.
    pub(super) fn figure(&self) -> String {
        let Self { height, marks, .. } = self;
        let title = escape(&self.title);
        format!(
            "<figure><figcaption>{title}<small>{}</small></figcaption>\n{}\
             <svg viewBox=\"0 0 {WIDTH} {height}\" role=\"img\" aria-label=\"{title}\">\n{marks}</svg></figure>\n",
            escape(&self.note),
            self.page_legend()
        )
    }

    fn page_legend(&self) -> String {
        if self.legend.is_empty() {
            return String::new();
        }
        let mut html = String::from("<div class=\"legend\">");
        for (number, label) in self.legend.iter().enumerate() {
            let colour = number % SERIES;
            let label = escape(label);
            let _infallible = write!(html, "<span><i class=\"b{colour}\"></i>{label}</span>");
        }
        html.push_str("</div>\n");
        html
    }

    /// As a file of its own.
    pub(super) fn image(&self) -> String {
        /// The title's line.
        const HEAD: f64 = 32.0;
        let Self { height, marks, .. } = self;
        let (title, style) = (escape(&self.title), plot_style());
        let (legend, rows) = self.image_legend(HEAD);
        let top = HEAD + rows;
        format!(
            "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {}\" role=\"img\" \
             aria-label=\"{title}\">\n<style>{style}</style>\n\
             <text x=\"{LEFT}\" y=\"22\"><tspan class=\"title\">{title}</tspan> <tspan dx=\"6\">{}</tspan></text>\n\
             {legend}<g transform=\"translate(0 {top})\">\n{marks}</g></svg>\n",
            top + height,
            escape(&self.note)
        )
    }

    /// The names of the series below `top`, in as many rows as they need, and the height of these.
    fn image_legend(&self, top: f64) -> (String, f64) {
        const ROW: f64 = 20.0;
        /// Of a character, at most, on average.
        const CHARACTER: f64 = 7.0;
        const SAMPLE: f64 = 24.0;
        let (mut svg, mut x, mut y) = (String::new(), LEFT, top);
        for (number, label) in self.legend.iter().enumerate() {
            let width = SAMPLE + CHARACTER * label.chars().count() as f64 + SAMPLE;
            if x > LEFT && x + width > WIDTH {
                (x, y) = (LEFT, y + ROW);
            }
            let _infallible = writeln!(
                svg,
                "<rect class=\"f{}\" x=\"{x:.1}\" y=\"{:.1}\" width=\"18\" height=\"4\"/>\
                 <text x=\"{:.1}\" y=\"{:.1}\">{}</text>",
                number % SERIES,
                y + 5.0,
                x + SAMPLE,
                y + 11.0,
                escape(label)
            );
            x += width;
        }
        let rows = if self.legend.is_empty() { 0.0 } else { y + ROW - top };
        (svg, rows)
    }
}

impl Plot<'_> {
    /// Draws it.
    pub(super) fn draw(&self) -> Drawing {
        let points = || self.series.iter().flat_map(|series| &series.points);
        let x = Range::fit(self.x, points().map(|point| point.0), LEFT, WIDTH - RIGHT);
        let y = Range::fit(self.y, points().map(|point| point.1), HEIGHT - BOTTOM, TOP);
        let mut marks = String::new();
        self.axes(&x, &y, &mut marks);
        for (number, series) in self.series.iter().enumerate() {
            self.mark(number % SERIES, series, &x, &y, &mut marks);
        }
        let several = if self.series.len() < 2 { &[] } else { &self.series[..] };
        Drawing {
            title: self.title.to_owned(),
            note: self.note.to_owned(),
            legend: several.iter().map(|series| series.label.clone()).collect(),
            height: HEIGHT,
            marks,
        }
    }

    fn axes(&self, x: &Range, y: &Range, svg: &mut String) {
        let bottom = HEIGHT - BOTTOM;
        for tick in y.ticks() {
            let at = y.place(tick);
            let _infallible = writeln!(
                svg,
                "<path class=\"grid\" d=\"M{LEFT} {at:.1}H{:.1}\"/><text x=\"{:.1}\" y=\"{:.1}\" \
                 text-anchor=\"end\">{}</text>",
                WIDTH - RIGHT,
                LEFT - 8.0,
                at + 4.0,
                tick_label(tick)
            );
        }
        let ticks = if self.x_ticks.is_empty() { x.ticks() } else { self.x_ticks.clone() };
        for tick in ticks {
            let at = x.place(tick);
            let _infallible = writeln!(
                svg,
                "<path class=\"grid\" d=\"M{at:.1} {bottom}v5\"/><text x=\"{at:.1}\" y=\"{:.1}\" \
                 text-anchor=\"middle\">{}</text>",
                bottom + 18.0,
                tick_label(tick)
            );
        }
        let _infallible = writeln!(
            svg,
            "<text x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"middle\">{}</text>\
             <text transform=\"translate(14 {:.1}) rotate(-90)\" text-anchor=\"middle\">{}</text>",
            f64::midpoint(LEFT, WIDTH - RIGHT),
            HEIGHT - 6.0,
            self.x.label,
            f64::midpoint(TOP, bottom),
            self.y.label
        );
    }

    fn mark(&self, colour: usize, series: &Series, x: &Range, y: &Range, svg: &mut String) {
        let shown = |&&(at, value): &&(f64, f64)| {
            (x.scale == Scale::Linear || at > 0.0) && (y.scale == Scale::Linear || value > 0.0)
        };
        let places: Vec<(f64, f64)> = series
            .points
            .iter()
            .filter(shown)
            .map(|&(at, value)| (x.place(at), y.place(value)))
            .collect();
        let path = path(&places, series.mark);
        if series.mark == Mark::Steps {
            let bottom = HEIGHT - BOTTOM;
            let (Some(first), Some(last)) = (places.first(), places.last()) else { return };
            let _infallible = writeln!(
                svg,
                "<path class=\"f{colour}\" fill-opacity=\".18\" d=\"{path}V{bottom}H{:.1}V{:.1}\"/>",
                first.0, first.1
            );
            debug_assert!(last.0 >= first.0, "steps ascend");
        }
        let _infallible = writeln!(svg, "<path class=\"mark s{colour}\" d=\"{path}\"/>");
        let on = if series.mark == Mark::Dots || places.len() == 1 { " on" } else { "" };
        for (&(at, value), (px, py)) in series.points.iter().filter(shown).zip(&places) {
            let _infallible = writeln!(
                svg,
                "<circle class=\"dot f{colour}{on}\" cx=\"{px:.1}\" cy=\"{py:.1}\" r=\"3.5\"><title>{}: {} \
                 at {} {}</title></circle>",
                escape(&series.label),
                exact(value),
                exact(at),
                self.x.label
            );
        }
    }
}

fn exact(value: f64) -> String {
    if value >= 100.0 { html::count(value.round() as u64) } else { format!("{value:.2}") }
}

fn path(places: &[(f64, f64)], mark: Mark) -> String {
    let mut path = String::new();
    for (number, (x, y)) in places.iter().enumerate() {
        let _infallible = match (number, mark) {
            (0, _) => write!(path, "M{x:.1} {y:.1}"),
            (_, Mark::Steps) => write!(path, "H{x:.1}V{y:.1}"),
            (_, Mark::Line | Mark::Dots) => write!(path, "L{x:.1} {y:.1}"),
        };
    }
    path
}

/// A horizontal bar for each value. Its label has as many lines as it needs.
pub(super) fn bars(
    title: &str,
    note: &str,
    values: &[(String, f64)],
    show: fn(f64) -> String,
) -> Drawing {
    const ROW: f64 = 26.0;
    const LINE: f64 = 15.0;
    const LABEL: f64 = 300.0;
    let most = values.iter().map(|(_, value)| *value).fold(0.0, f64::max).max(f64::EPSILON);
    let mut marks = String::new();
    let mut top = 3.0;
    for (number, (label, value)) in values.iter().enumerate() {
        let lines = wrapped(label);
        let more = LINE * (lines.len() - 1) as f64;
        let width = (WIDTH - LABEL - 90.0) * value / most;
        for (line, text) in lines.iter().enumerate() {
            let _infallible = write!(
                marks,
                "<text x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"end\">{}</text>",
                LABEL - 8.0,
                top + 13.5 + LINE * line as f64,
                escape(text)
            );
        }
        let _infallible = writeln!(
            marks,
            "<rect class=\"f{}\" x=\"{LABEL}\" y=\"{:.1}\" width=\"{width:.1}\" height=\"18\" rx=\"2\"/>\
             <text class=\"value\" x=\"{:.1}\" y=\"{:.1}\">{}</text>",
            number % SERIES,
            top + more / 2.0,
            LABEL + width + 6.0,
            top + more / 2.0 + 13.5,
            escape(&show(*value))
        );
        top += ROW + more;
    }
    let height = top + 1.0;
    Drawing { title: title.to_owned(), note: note.to_owned(), legend: Vec::new(), height, marks }
}

/// Text in lines that fit beside a bar, broken at blanks, and within words that are longer than a line.
fn wrapped(text: &str) -> Vec<String> {
    const LONGEST: usize = 40;
    let mut lines = vec![String::new()];
    for word in text.split_whitespace() {
        let letters: Vec<char> = word.chars().collect();
        for piece in letters.chunks(LONGEST) {
            let line = lines.last_mut().expect("there is one");
            let length = line.chars().count();
            if length == 0 {
                line.extend(piece);
            } else if length + 1 + piece.len() <= LONGEST {
                line.push(' ');
                line.extend(piece);
            } else {
                lines.push(piece.iter().collect());
            }
        }
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ticks_are_round_and_within_the_axis() {
        let range = |scale, high| {
            Range::fit(Axis { label: "", scale }, [0.3, high].into_iter(), 0.0, 100.0)
        };
        assert_eq!(range(Scale::Linear, 100.0).ticks(), [0.0, 20.0, 40.0, 60.0, 80.0, 100.0]);
        assert_eq!(range(Scale::Linear, 0.45).ticks().len(), 5);
        assert_eq!(range(Scale::Log, 7.0).ticks(), [0.2, 0.5, 1.0, 2.0, 5.0, 10.0]);
        assert_eq!(range(Scale::Log, 90_000.0).ticks(), [1.0, 10.0, 100.0, 1e3, 1e4, 1e5]);
    }

    #[test]
    fn values_lie_where_the_axis_says() {
        let log = Range { scale: Scale::Log, low: 1.0, high: 100.0, from: 0.0, to: 200.0 };
        assert!((log.place(10.0) - 100.0).abs() < 1e-9);
        assert!(log.place(0.0).abs() < 1e-9);
        let linear = Range { scale: Scale::Linear, low: 0.0, high: 50.0, from: 100.0, to: 0.0 };
        assert!((linear.place(12.5) - 75.0).abs() < 1e-9);
    }

    #[test]
    fn every_name_of_an_image_is_within_it() {
        let legend = (1..=9).map(|n| format!("design number {n}, measured twice")).collect();
        let (title, note) = ("t".to_owned(), "requests a second".to_owned());
        let drawing = Drawing { title, note, legend, height: 100.0, marks: String::new() };
        let (names, rows) = drawing.image_legend(32.0);
        let attribute = |line: &str, name: &str| -> f64 {
            let (_, value) = line.split_once(&format!("<text {name}")).unwrap();
            value.split('"').nth(1).unwrap().parse().unwrap()
        };
        assert_eq!(names.lines().count(), 9);
        for line in names.lines() {
            assert!(attribute(line, "x=") + 33.0 * 7.0 <= WIDTH, "{line}");
        }
        assert!(rows > 40.0, "they do not fit into two rows");
        let image = drawing.image();
        assert!(image.contains(&format!("viewBox=\"0 0 {WIDTH} {}\"", 132.0 + rows)), "{image}");
        assert!(image.contains("requests a second"));
    }

    #[test]
    fn labels_of_bars_are_broken_into_lines() {
        assert_eq!(wrapped(""), [""]);
        assert_eq!(wrapped("topline, closed loop"), ["topline, closed loop"]);
        let words = wrapped("a very long name of a run that should wrap, closed loop");
        assert_eq!(words, ["a very long name of a run that should", "wrap, closed loop"]);
        assert_eq!(wrapped(&"x".repeat(50)), ["x".repeat(40), "x".repeat(10)]);
        let drawing = bars("", "", &[("x".repeat(50), 1.0), ("y".to_owned(), 2.0)], html::rate);
        assert!((drawing.height - 71.0).abs() < 1e-9, "{}", drawing.height);
    }

    #[test]
    fn a_plot_without_points_is_still_a_plot() {
        let axis = |scale| Axis { label: "x", scale };
        let series = Series { label: "a<b".to_owned(), mark: Mark::Steps, points: Vec::new() };
        let plot = Plot {
            title: "t",
            note: "",
            x: axis(Scale::Log),
            y: axis(Scale::Linear),
            x_ticks: Vec::new(),
            series: vec![series.clone(), series],
        };
        let drawing = plot.draw();
        let svg = drawing.figure() + &drawing.image();
        assert!(svg.contains("a&lt;b") && !svg.contains("NaN"), "{svg}");
    }

    #[test]
    fn tick_labels_are_short_and_the_number() {
        let labels = [0.0, 0.05, 0.5, 2.0, 1500.0, 20_000.0].map(tick_label);
        assert_eq!(labels, ["0", "0.05", "0.5", "2", "1,500", "20k"]);
        let labels = [3.0 * 0.05, 0.25, 1.25, 0.000_2, 10_500.0, 16_384.0].map(tick_label);
        assert_eq!(labels, ["0.15", "0.25", "1.25", "0.0002", "10,500", "16,384"]);
    }
}
