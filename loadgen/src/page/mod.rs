//! Pages for people: one file each, with everything in it, light or dark as the reader has it.

mod compare;
mod html;
mod report;
mod svg;

pub use compare::{PlotFile, compare_html, compare_markdown, compare_plots};
pub use report::report_html;
