//! Figures as files: how wide they are, what they stand on, what is said over them, and that PDF and PNG are whole and the same twice.

use pellucid::error::ErrorKind;
use pellucid::view::colour::Rgb;
use pellucid::view::encode::FileType;
use pellucid::view::{Figure, Style, Theme, Words};
use serde_json::Value;

use crate::bin::{GIVERS, Place};
use crate::view::renderers::{every_body, view};

fn width(text: &str) -> Style {
    Style { width: Some(text.parse().unwrap()), ..Style::default() }
}

/// The four numbers of a PDF's only page.
#[track_caller]
fn media_box(pdf: &[u8]) -> [f64; 4] {
    let text = String::from_utf8_lossy(pdf);
    assert!(text.starts_with("%PDF-") && text.trim_end().ends_with("%%EOF"));
    assert_eq!(text.matches("/MediaBox").count(), 1);
    let after = text.split_once("/MediaBox").unwrap().1;
    let inside = after.split_once('[').unwrap().1.split_once(']').unwrap().0;
    let numbers: Vec<f64> = inside.split_whitespace().map(|n| n.parse().unwrap()).collect();
    numbers.try_into().unwrap()
}

/// Width and height of a PNG, and the pixels of a metre.
#[track_caller]
fn png(bytes: &[u8]) -> (u32, u32, u32) {
    let reader = png::Decoder::new(bytes).read_info().unwrap();
    let info = reader.info();
    (info.width, info.height, info.pixel_dims.unwrap().xppu)
}

/// Invariant: A figure has the width that was asked for, in every type of file, and nothing of it lies outside.
#[test]
fn every_kind_of_view_is_as_wide_as_asked() {
    for (name, body) in every_body() {
        let view = view(body);
        for (asked, points) in
            [("8cm", 8.0 / 2.54 * 72.0), ("85mm", 85.0 / 25.4 * 72.0), ("6.5in", 468.0), ("240pt", 240.0)]
        {
            let figure = Figure::styled(&view, &width(asked)).unwrap().unwrap();
            let xml = roxmltree::Document::parse(&figure.svg).unwrap();
            let root = xml.root_element();
            assert_eq!(root.attribute("width"), Some(asked), "{name}");
            let size: Vec<f64> = root.attribute("viewBox").unwrap().split(' ').map(|n| n.parse().unwrap()).collect();
            for node in root.children().filter(|n| n.has_tag_name("text") || n.has_tag_name("rect")) {
                let at = |a: &str| node.attribute(a).map_or(0.0, |v| v.parse::<f64>().unwrap());
                assert!((0.0..=size[2]).contains(&at("x")) && (0.0..=size[3]).contains(&at("y")), "{name}: {node:?}");
                assert!(at("x") + at("width") <= size[2] + 0.5, "{name} {asked}: {node:?}");
            }
            assert!(figure.scale <= 1.0 && figure.scale > 0.4, "{name} {asked}: {}", figure.scale);
            let pdf = figure.encoded(FileType::Pdf, 300.0).unwrap();
            let [left, bottom, right, top] = media_box(&pdf.bytes);
            assert_eq!((left, bottom), (0.0, 0.0));
            assert!((right - points).abs() < 0.01, "{name}: {right} instead of {points}");
            assert!((top / right - size[3] / size[2]).abs() < 1e-3, "{name}");
            let (w, h, in_a_metre) = png(&figure.encoded(FileType::Png, 150.0).unwrap().bytes);
            assert_eq!((f64::from(w), in_a_metre), ((points / 72.0 * 150.0).round(), 5906), "{name}");
            assert!((f64::from(h) / f64::from(w) - top / right).abs() < 0.01, "{name}");
            show(&figure, &format!("{name}-{asked}"));
        }
    }
}

/// Without a width, a figure is as it always was.
#[test]
fn a_figure_of_no_style_is_the_same_bytes() {
    for (name, body) in every_body() {
        let view = view(body);
        let plain = Figure::of(&view).unwrap().unwrap();
        assert_eq!(Figure::styled(&view, &Style::default()).unwrap().unwrap(), plain, "{name}");
        assert_eq!(plain.encoded(FileType::Svg, 300.0).unwrap().bytes, plain.svg.as_bytes());
        let [.., right, _] = media_box(&plain.encoded(FileType::Pdf, 300.0).unwrap().bytes);
        let xml = roxmltree::Document::parse(&plain.svg).unwrap();
        let wide: f64 = xml.root_element().attribute("width").unwrap().parse().unwrap();
        assert!((right - 0.75 * wide).abs() < 0.01, "{name}: a pixel is three quarters of a point");
    }
}

/// Invariant: as `the_same_rows_give_the_same_bytes`.
#[test]
fn pdf_and_png_are_the_same_bytes_twice() {
    for (name, body) in every_body() {
        let figure = Figure::of(&view(body)).unwrap().unwrap();
        for file in [FileType::Pdf, FileType::Png] {
            let one = figure.encoded(file, 96.0).unwrap();
            // Hash maps differ from one to the next in one process, too.
            for _ in 0..4 {
                assert!(figure.encoded(file, 96.0).unwrap() == one, "{name}: {file:?}");
            }
        }
    }
}

#[test]
fn titles_and_captions_are_as_asked() {
    let view = view(every_body().remove(0).1);
    let of = |title: Words, caption: Words, asked: Option<&str>| {
        let style = Style { title, caption, width: asked.map(|w| w.parse().unwrap()), ..Style::default() };
        let svg = Figure::styled(&view, &style).unwrap().unwrap().svg;
        let xml = roxmltree::Document::parse(&svg).unwrap();
        let text = |node: roxmltree::Node| node.text().unwrap_or_default().to_owned();
        let written: Vec<String> = xml.descendants().filter(|n| n.has_tag_name("text")).map(text).collect();
        let high: String = xml.root_element().attribute("viewBox").unwrap().split(' ').next_back().unwrap().into();
        (written.join(" "), high.parse::<f64>().unwrap())
    };
    for asked in [None, Some("9cm")] {
        let (all, high) = of(Words::Own, Words::Own, asked);
        assert!(all.contains("A title") && all.contains("demo") && all.contains("What marks"), "{all}");
        let (none, low) = of(Words::None, Words::None, asked);
        assert!(!none.contains("A title") && !none.contains("demo ·") && !none.contains("marks"), "{none}");
        assert!(low < high - 40.0, "{low} {high}");
        let (own, _) = of(Words::These("Mine <b>".into()), Words::These("Said by me.".into()), asked);
        assert!(own.contains("Mine <b>") && own.contains("Said by me.") && !own.contains("demo ·"), "{own}");
        assert!(!own.contains("A title"), "{own}");
    }
}

/// Invariant: Letters and lines of a figure stand out from its ground, light or dark.
#[test]
fn a_dark_figure_can_be_read() {
    for (name, body) in every_body() {
        let view = view(body);
        let dark = Figure::styled(&view, &Style { theme: Theme::Dark, ..Style::default() }).unwrap().unwrap();
        let light = Figure::of(&view).unwrap().unwrap();
        let xml = roxmltree::Document::parse(&dark.svg).unwrap();
        let root = xml.root_element();
        let ground = root.children().find(|n| n.has_tag_name("rect")).unwrap().attribute("fill").unwrap();
        assert_eq!(ground, "#18181b", "{name}");
        for known in [Rgb::INK, Rgb::SOFT, Rgb::LINE, Rgb::FAINT] {
            assert!(!dark.svg.contains(&format!("\"{known}\"")), "{name} has {known}");
        }
        // Black letters stand on light cells alone, and a plot has none.
        let is_plot = ["bars", "line", "lines", "scatter"].contains(&name);
        assert!(!is_plot || !dark.svg.contains("fill=\"#000000\""), "{name}");
        // The same marks at the same places: only colours differ.
        let marks = |svg: &str| svg.split('"').filter(|part| !part.starts_with('#')).collect::<Vec<_>>().join("\"");
        let at = |svg: &str| marks(svg).replace(" fill=\"\"", "").replace(" fill=", "");
        assert_eq!(at(&dark.svg).lines().count(), at(&light.svg).lines().count(), "{name}");
        show(&dark, &format!("{name}-dark"));
    }
}

#[test]
fn letters_that_no_font_has_are_named() {
    let mut view = view(every_body().remove(0).1);
    view.title = "known \u{10fffd}".into();
    let figure = Figure::of(&view).unwrap().unwrap();
    for file in [FileType::Pdf, FileType::Png] {
        assert_eq!(figure.encoded(file, 96.0).unwrap().missing, ['\u{10fffd}'], "{file:?}");
    }
    view.title = "Σ p·log₂ p ≈ −0.5 ± 0.1 → Ġthe·↵ Zürich Москва".into();
    assert!(Figure::of(&view).unwrap().unwrap().encoded(FileType::Pdf, 96.0).unwrap().missing.is_empty());
}

#[test]
fn too_many_pixels_are_refused() {
    let figure = Figure::styled(&view(every_body().remove(0).1), &width("2000mm")).unwrap().unwrap();
    let e = figure.encoded(FileType::Png, 2400.0).unwrap_err();
    assert!(e.kind() == ErrorKind::BadInput && e.message().contains("pixels"), "{e:?}");
}

fn show(figure: &Figure, name: &str) {
    if let Some(folder) = std::env::var_os("PELLUCID_FIGURES") {
        for file in FileType::ALL {
            let bytes = figure.encoded(file, 200.0).unwrap().bytes;
            fs_err::write(std::path::Path::new(&folder).join(format!("{name}.{}", file.extension())), bytes).unwrap();
        }
    }
}

/// A table of a sweep, and one of a lens.
fn made() -> Place {
    let place = Place::new();
    place.ok(["patch", "-q", "--out", "run", "--over", "layer,pos"].iter().chain(&GIVERS));
    place.ok(["lens", "-q", "--out", "lens", "Mary and John went to the store"]);
    place
}

fn names(printed: &str) -> Vec<&str> {
    printed.lines().collect()
}

/// Invariant: A figure says how it was made in every type of file, and is replaced only by one of the same table.
#[test]
fn the_name_of_the_file_says_what_it_is() {
    let place = made();
    let table = "lens/logit_lens.parquet";
    let said = place.ok(["chart", table, "--out", "fig/lens.pdf", "--width", "8cm", "--title", "none"]).stdout;
    assert_eq!(said, "fig/lens.pdf\n");
    // Cells get narrower, and letters keep their size.
    let long = ["chart", table, "--out", "fig/narrow.svg", "--width", "7cm"];
    assert_eq!(place.ok(long).stderr, "");
    let [.., right, _] = media_box(&place.read("fig/lens.pdf"));
    assert!((right - 226.772).abs() < 0.01, "{right}");
    place.ok(["chart", table, "--out", "fig/lens.png", "--width", "8cm", "--dpi", "600"]);
    assert_eq!(png(&place.read("fig/lens.png")).0, 1890);
    place.ok(["chart", table, "--out", "fig/lens.svg"]);
    assert_eq!(place.read("fig/lens.svg"), place.read("lens/logit_lens.svg"));
    let all = place.ok(["chart", table, "--out", "all", "--as", "svg,pdf,png", "--theme", "dark"]).stdout;
    assert_eq!(names(&all), ["all/logit_lens.svg", "all/logit_lens.pdf", "all/logit_lens.png"]);
    for (name, bytes) in [("pdf", place.read("all/logit_lens.pdf")), ("png", place.read("all/logit_lens.png"))] {
        // The same table draws over it, another does not.
        place.ok(["chart", table, "--out", "all", "--as", name, "--theme", "dark"]);
        assert!(place.read(&format!("all/logit_lens.{name}")) == bytes, "{name}");
        place.ok(["chart", table, "--out", &format!("fig/other.{name}")]);
        let other = ["chart", "run/patch.parquet", "--out", &format!("fig/other.{name}")].map(str::to_owned);
        place.refused(&other, 2, "is a figure of another table");
        place.ok(other.iter().map(String::as_str).chain(["--force"]));
        place.write(&format!("fig/mine.{name}"), b"my own");
        place.refused(["chart", table, "--out", &format!("fig/mine.{name}"), "--force"], 2, "not drawn by pellucid");
    }
    let how: Value = serde_json::from_str(&said_in(&place.read("fig/lens.pdf"))).unwrap();
    assert_eq!((&how["table"], &how["model"]), (&"logit_lens".into(), &"demo".into()));
}

/// What a PDF says of how it was made.
fn said_in(pdf: &[u8]) -> String {
    let text = String::from_utf8_lossy(pdf);
    let inside = text.split_once("<pellucid:provenance>").unwrap().1.split_once("</pellucid:provenance>").unwrap().0;
    inside.replace("&quot;", "\"").replace("&lt;", "<").replace("&gt;", ">").replace("&amp;", "&")
}

#[test]
fn what_does_not_fit_together_is_refused() {
    let place = made();
    place.write("prompts.txt", "Mary and John\nOnce upon a time\n");
    place.ok(["lens", "-q", "--out", "two", "--prompts", "prompts.txt"]);
    let table = "lens/logit_lens.parquet";
    let refused = |more: &[&str], says: &str| {
        place.refused(["chart", table].iter().chain(more), 2, says);
    };
    refused(&["--out", "x.pdf", "--as", "png"], "another type of files");
    refused(&["--out", "x.pdf", "--as", "svg,pdf"], "is one place");
    refused(&["--out", "-", "--as", "svg,pdf"], "is one place");
    refused(&["--width", "8"], "not a width");
    refused(&["--width", "8km"], "not a width");
    refused(&["--width", "1mm"], "no width for a figure");
    refused(&["--theme", "blue"], "not a theme");
    refused(&["--as", "gif"], "not a type of figures");
    let no = place.refused(["chart", "two/logit_lens.parquet", "--out", "x.pdf"], 2, "several figures");
    assert!(no.stderr.contains("--figures first") && no.stderr.contains("--figure logit_lens-p1"), "{}", no.stderr);
    // A folder is no type of files, and a file of another type no folder.
    for name in ["x.jpg", "x.JPEG", "x.parquet", "new/x.html"] {
        refused(&["--out", name], "is not one of svg, pdf, png");
        assert!(!place.path(name).exists() && !place.path("new").exists(), "{name}");
    }
    place.refused(["chart", "two/logit_lens.parquet", "--out", "-"], 2, "several figures");
}

/// Invariant: Each figure of a table can be drawn alone by its name, as it is among the others; of an error the hints do what they say.
#[test]
fn one_figure_of_several_is_chosen_by_its_name() {
    let place = Place::new();
    place.ok(["attention", "-q", "Mary and John", "--out", "att", "--figures", "none"]);
    place.ok(["attribute", "-q", "--out", "attr", "--figures", "none"].iter().chain(&GIVERS));
    let heads = ["chart", "att/attention.parquet", "--head", "1.1"];
    for table in [&heads[..], &["chart", "attr/attribution.parquet"]] {
        let call = |more: &[&str]| [table, more].concat().into_iter().map(str::to_owned).collect::<Vec<_>>();
        let all = place.ok(call(&["--out", "all"])).stdout;
        let names: Vec<&str> =
            all.lines().map(|l| l.strip_prefix("all/").unwrap().strip_suffix(".svg").unwrap()).collect();
        assert!(names.len() > 1, "{all}");
        for name in &names {
            place.ok(call(&["--out", "one.svg", "--force", "--figure", name]));
            assert_eq!(place.read("one.svg"), place.read(&format!("all/{name}.svg")), "{name}");
        }
        let no = place.refused(call(&["--out", "x.pdf"]), 2, "several figures");
        let hint =
            no.stderr.split("--figure ").nth(1).unwrap().split_whitespace().next().unwrap().trim_end_matches(',');
        assert!(names.contains(&hint) && !no.stderr.contains("--figures first"), "{}", no.stderr);
        assert_eq!(place.ok(call(&["--out", "x.pdf", "--force", "--figure", hint])).stdout, "x.pdf\n");
        let no = place.refused(call(&["--out", "y.pdf", "--figure", "no-such"]), 2, "no figure `no-such`");
        assert!(names.iter().all(|name| no.stderr.contains(name)), "{}", no.stderr);
        assert!(!place.path("y.pdf").exists());
    }
}

#[test]
fn tables_and_figures_go_through_pipes() {
    let place = made();
    let before = place.contents();
    let mut command = place.command(env!("CARGO_BIN_EXE_pellucid"));
    command
        .args(["chart", "-", "--out", "-"])
        .stdin(fs_err::File::open(place.path("lens/logit_lens.parquet")).unwrap().into_parts().0);
    let done = command.output().unwrap();
    assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
    assert!(done.stdout == place.read("lens/logit_lens.svg"));
    assert!(place.contents() == before, "nothing is written");
}

/// Invariant: A chosen part of a table is drawn as a table of that part alone would be.
#[test]
fn a_part_of_a_table_is_drawn_alone() {
    let place = Place::new();
    let two = ["--metric", "logit_diff,prob"];
    place.ok(["patch", "-q", "--out", "two", "--over", "layer,pos"].iter().chain(&GIVERS).chain(&two));
    let said = place.ok(["chart", "two/patch.parquet", "--out", "all", "--scale", "1"]).stdout;
    assert_eq!(said.lines().count(), 2, "{said}");
    let said = place.ok(["chart", "two/patch.parquet", "--out", "prob.svg", "--metric", "prob", "--scale", "1"]).stdout;
    assert_eq!(said, "prob.svg\n");
    assert_eq!(place.read("prob.svg"), place.read("all/patch-resid_pre-prob.svg"));
    place.refused(["chart", "two/patch.parquet", "--out", "x", "--metric", "probs"], 2, "did you mean");
    place.ok(["loss", "-q", "Mary and John", "--out", "loss"]);
    place.refused(["chart", "loss/loss.parquet", "--out", "x", "--metric", "prob"], 2, "no metric to choose");
    // The last position alone.
    let tokens = |svg: &str| ["·and", "·John"].map(|token| svg.contains(token));
    let read = |name: &str| String::from_utf8(place.read(name)).unwrap();
    place.ok(["chart", "loss/loss.parquet", "--out", "every.svg"]);
    place.ok(["chart", "loss/loss.parquet", "--out", "last.svg", "--positions", "-1"]);
    assert_eq!((tokens(&read("every.svg")), tokens(&read("last.svg"))), ([true; 2], [false, true]));
    place.refused(["chart", "loss/loss.parquet", "--out", "x", "--positions", "9"], 2, "positions of prompt 0");
}
