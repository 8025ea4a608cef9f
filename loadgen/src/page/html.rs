//! The frame of a page, and text in it.

use std::fmt::Write;

/// Colours; those of the series are told apart also by people who see few colours.
const COLOURS: &str = "
:root{color-scheme:light dark;--bg:#fff;--fg:#1a1f27;--dim:#5b6573;--line:#dde2e8;--card:#f6f8fa;
--good:#1a7f4b;--note:#9a6700;--bad:#c4302b;
--s0:#2563c9;--s1:#d97706;--s2:#b5307a;--s3:#0f8a76;--s4:#7c5cd6;--s5:#7a6a58;--s6:#4d7c0f;--s7:#be123c}
@media(prefers-color-scheme:dark){:root{--bg:#12161c;--fg:#e6e9ee;--dim:#9aa5b4;--line:#2b333e;--card:#1a2028;
--good:#4cc38a;--note:#e0a93b;--bad:#ff7b72;
--s0:#6ea8ff;--s1:#f5a742;--s2:#f07ab8;--s3:#3cc9b0;--s4:#a994f5;--s5:#c2b09a;--s6:#a3d052;--s7:#fb7185}}
";

/// What a page looks like.
const STYLE: &str = "
*{box-sizing:border-box}
body{margin:0;background:var(--bg);color:var(--fg);font:15px/1.5 system-ui,-apple-system,\"Segoe UI\",Roboto,
\"Helvetica Neue\",Arial,sans-serif}
main{max-width:70rem;margin:0 auto;padding:2rem 1.25rem 4rem}
h1{font-size:1.7rem;line-height:1.2;margin:0 0 .5rem}
h2{font-size:1.15rem;margin:2.25rem 0 .6rem}
p{margin:.4rem 0;max-width:46rem}
.dim{color:var(--dim)}.lead{font-size:1.02rem}
.tiles{display:grid;grid-template-columns:repeat(auto-fit,minmax(9.5rem,1fr));gap:.75rem;margin:1.25rem 0}
.tile{background:var(--card);border:1px solid var(--line);border-radius:.5rem;padding:.7rem .9rem}
.tile b{display:block;font-size:1.4rem;line-height:1.25;font-variant-numeric:tabular-nums;white-space:nowrap}
.tile span{color:var(--dim);font-size:.85rem}
.say{border-left:4px solid var(--dim);background:var(--card);border-radius:0 .4rem .4rem 0;padding:.5rem .9rem;
margin:.5rem 0;max-width:none}
.say b{margin-right:.35rem}
.good{border-color:var(--good)}.good b{color:var(--good)}
.note{border-color:var(--note)}.note b{color:var(--note)}
.bad{border-color:var(--bad)}.bad b{color:var(--bad)}
.scroll{overflow-x:auto}
table{border-collapse:collapse;font-variant-numeric:tabular-nums;font-size:.92rem}
th,td{padding:.3rem .7rem;border-bottom:1px solid var(--line);text-align:right;white-space:nowrap}
th{font-weight:600;color:var(--dim)}
th:first-child,td:first-child{text-align:left;padding-left:0}
td.text,th.text{text-align:left;white-space:normal;overflow-wrap:anywhere;min-width:8rem}
figure{margin:1rem 0 1.5rem}
figcaption{font-weight:600;margin-bottom:.15rem}
figcaption small{font-weight:400;color:var(--dim);margin-left:.4rem}
.legend{font-size:.85rem;color:var(--dim);margin:.1rem 0}
.legend span{display:inline-block;margin-right:1rem}
.legend i{display:inline-block;width:1.1rem;height:.2rem;border-radius:.1rem;vertical-align:middle;
margin-right:.35rem}
svg{display:block;width:100%;height:auto}
";

/// What is in a plot.
const PLOT_STYLE: &str = "
svg text{font-size:12px;fill:var(--dim);font-family:inherit}
svg text.value{fill:var(--fg)}
.grid{stroke:var(--line);stroke-width:1}
.mark{fill:none;stroke-width:1.8;stroke-linejoin:round;stroke-linecap:round}
.dot{opacity:0}.dot:hover,.dot.on{opacity:1}
";

/// A whole page.
pub(super) fn page(title: &str, body: &str) -> String {
    let mut style = [COLOURS, STYLE, PLOT_STYLE].concat();
    series_style(&mut style);
    format!(
        "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
         <meta name=\"viewport\" content=\"width=device-width,initial-scale=1\">\n\
         <title>{}</title>\n<style>{style}</style>\n</head>\n<body>\n<main>\n{body}</main>\n</body>\n</html>\n",
        escape(title)
    )
}

/// The style of a plot that is a file of its own.
pub(super) fn plot_style() -> String {
    let own = "\nsvg{background:var(--bg);font-family:system-ui,sans-serif}\nsvg tspan.title{font-size:15px;font-weight:600;fill:var(--fg)}\n";
    let mut style = [COLOURS, PLOT_STYLE, own].concat();
    series_style(&mut style);
    style
}

fn series_style(style: &mut String) {
    for series in 0..SERIES {
        let _infallible = write!(
            style,
            ".s{series}{{stroke:var(--s{series})}}.f{series}{{fill:var(--s{series})}}\
             .b{series}{{background:var(--s{series})}}"
        );
    }
}

/// Colours for series; more than that repeat.
pub(super) const SERIES: usize = 8;

/// Text as it must be written in a page.
pub(super) fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            '\'' => escaped.push_str("&#39;"),
            _ => escaped.push(character),
        }
    }
    escaped
}

/// A cell of a table.
pub(super) enum Cell {
    /// A number or a short name.
    Short(String),
    /// Text that may need several lines.
    Text(String),
}

/// A table. The header says how its columns look.
pub(super) fn table(header: &[Cell], rows: &[Vec<Cell>]) -> String {
    let mut html = String::from("<div class=\"scroll\"><table>\n");
    html.push_str(&row(header, "th"));
    for cells in rows {
        html.push_str(&row(cells, "td"));
    }
    html.push_str("</table></div>\n");
    html
}

fn row(cells: &[Cell], tag: &str) -> String {
    let mut html = String::from("<tr>");
    for cell in cells {
        let (class, text) = match cell {
            Cell::Short(text) => ("", text),
            Cell::Text(text) => (" class=\"text\"", text),
        };
        let _infallible = write!(html, "<{tag}{class}>{}</{tag}>", escape(text));
    }
    html.push_str("</tr>\n");
    html
}

/// Short cells.
pub(super) fn short<T: ToString>(texts: impl IntoIterator<Item = T>) -> Vec<Cell> {
    texts.into_iter().map(|text| Cell::Short(text.to_string())).collect()
}

/// A whole number with separators.
pub(super) fn count(number: u64) -> String {
    let digits = number.to_string();
    let mut grouped = String::new();
    for (place, digit) in digits.chars().enumerate() {
        if place > 0 && (digits.len() - place).is_multiple_of(3) {
            grouped.push(',');
        }
        grouped.push(digit);
    }
    grouped
}

/// In place of a figure that nothing was measured for.
pub(super) const NOTHING: &str = "–";

/// Milliseconds, to about three digits.
pub(super) fn ms(milliseconds: f64) -> String {
    match milliseconds {
        0.0 => "0".to_owned(),
        small if small < 10.0 => format!("{small:.2}"),
        medium if medium < 100.0 => format!("{medium:.1}"),
        large => count(large.round() as u64),
    }
}

/// Milliseconds, if there are any.
pub(super) fn ms_or_nothing(milliseconds: Option<f64>) -> String {
    milliseconds.map_or(NOTHING.to_owned(), ms)
}

/// A rate a second.
pub(super) fn rate(per_second: f64) -> String {
    if per_second < 100.0 { format!("{per_second:.1}") } else { count(per_second.round() as u64) }
}

/// A share as a percentage.
pub(super) fn percent(share: f64) -> String {
    format!("{:.0} %", share * 100.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_cannot_leave_its_place() {
        assert_eq!(escape("<b a=\"'\">&"), "&lt;b a=&quot;&#39;&quot;&gt;&amp;");
        let html = table(&short(["a<b"]), &[vec![Cell::Text("x&y".to_owned())]]);
        assert!(html.contains("a&lt;b") && html.contains("x&amp;y"), "{html}");
    }

    #[test]
    fn numbers_are_written_for_people() {
        assert_eq!(
            [count(0), count(999), count(1_000), count(1_234_567)],
            ["0", "999", "1,000", "1,234,567"]
        );
        assert_eq!([ms(0.0), ms(0.123), ms(12.34), ms(1234.5)], ["0", "0.12", "12.3", "1,235"]);
    }
}
