//! Figures that are tables: bars in rows, shades in cells. What is drawn is written beside it, so that nobody needs to see a colour.

use std::fmt::Write as _;

use super::write::Writer;

/// Begins a figure.
pub fn begin(w: &mut Writer<'_>) {
    w.raw("<figure>");
}

/// Ends it with what it shows.
pub fn end(w: &mut Writer<'_>, caption: &str) {
    let _ = write!(w.out, "<figcaption>{caption}</figcaption></figure>");
}

/// A bar of `share` of the width, 0 to 1.
pub fn bar(share: f64, class: &str) -> String {
    let width = (share.clamp(0.0, 1.0) * 1000.0).round() / 10.0;
    format!(
        "<svg class=\"bar\" viewBox=\"0 0 100 8\" preserveAspectRatio=\"none\" aria-hidden=\"true\"><rect class=\"{class}\" width=\"{width}\"/></svg>"
    )
}

/// A bar to the right of the middle for what is above 0, to the left for what is below.
pub fn signed(value: f64, most: f64) -> String {
    let width = (value.abs() / most.max(1e-30)).clamp(0.0, 1.0) * 50.0;
    let (width, x) = ((width * 10.0).round() / 10.0, if value < 0.0 { 50.0 - width } else { 50.0 });
    let x = (x * 10.0).round() / 10.0;
    let class = if value < 0.0 { "minus" } else { "plus" };
    format!(
        "<svg class=\"bar\" viewBox=\"0 0 100 8\" preserveAspectRatio=\"none\" aria-hidden=\"true\"><rect class=\"{class}\" x=\"{x}\" width=\"{width}\"/><path d=\"M50 0V8\"/></svg>"
    )
}

/// Cells in ten shades of a share, at (column, row) of a grid of this size; what is nearly 0 is left as the paper. `more` is put on the picture.
pub fn shades(
    class: &str,
    (width, height): (usize, usize),
    more: &str,
    label: &str,
    cells: impl Iterator<Item = (usize, usize, f64)>,
) -> String {
    let mut paths = vec![String::new(); 10];
    for (x, y, share) in cells {
        let _ = write!(paths[shade(share)], "M{x} {y}h1v1h-1z");
    }
    let mut svg =
        format!("<svg class=\"{class}\" viewBox=\"0 0 {width} {height}\" {more}role=\"img\" aria-label=\"{label}\">");
    for (shade, path) in paths.iter().enumerate().skip(1).filter(|(_, path)| !path.is_empty()) {
        let _ = write!(svg, "<path class=\"c{shade}\" d=\"{path}\"/>");
    }
    svg + "</svg>"
}

/// More names than this along an axis are not written: every second one is then, or every third.
const NAMES: usize = 32;

/// A grid with names along its lower edge and down its left side, as HTML. Its table has all of them.
pub fn framed(svg: &str, down: &[String], along: &[String]) -> String {
    let axis = |class: &str, names: &[String]| {
        let step = names.len().div_ceil(NAMES).max(1);
        let mut out = format!("<ol class=\"{class}\" aria-hidden=\"true\">");
        for (i, name) in names.iter().enumerate() {
            let _ = write!(out, "<li>{}</li>", if i % step == 0 { name } else { "" });
        }
        out + "</ol>"
    };
    format!("<div class=\"grid\">{}{svg}{}</div>", axis("down", down), axis("along", along))
}

/// Which of ten shades a share of the largest has.
pub fn shade(share: f64) -> usize {
    (share.clamp(0.0, 1.0) * 9.0).round() as usize
}

/// A table: its columns, and rows of HTML cells, the first of which is the row's head. Where it is wide, it scrolls.
pub fn table(w: &mut Writer<'_>, label: &str, columns: &[String], rows: &[Vec<String>]) {
    let html = table_html(label, columns, rows);
    w.raw(&html);
}

/// The same as text.
pub fn table_html(label: &str, columns: &[String], rows: &[Vec<String>]) -> String {
    let mut out =
        format!("<div class=\"wide\" tabindex=\"0\" role=\"group\" aria-label=\"{label}\"><table><thead><tr>");
    for name in columns {
        let _ = write!(out, "<th scope=\"col\">{name}</th>");
    }
    out.push_str("</tr></thead><tbody>");
    for row in rows {
        out.push_str("<tr>");
        for (i, cell) in row.iter().enumerate() {
            let _ = match i {
                0 => write!(out, "<th scope=\"row\">{cell}</th>"),
                _ => write!(out, "<td>{cell}</td>"),
            };
        }
        out.push_str("</tr>");
    }
    out.push_str("</tbody></table></div>");
    out
}

/// Something that opens.
pub fn opens(summary: &str, html: &str) -> String {
    format!("<details><summary>{summary}</summary>{html}</details>")
}
