//! How figures look, and to what files they go.

use std::path::{Path, PathBuf};

use clap::Args;

use crate::error::{Error, Result};
use crate::view::encode::FileType;
use crate::view::{Length, Style, Theme, Words};

/// How figures look.
#[derive(Args, Debug)]
#[command(next_help_heading = "Figure")]
pub(super) struct StyleArgs {
    /// Width of the figure with its unit, such as 8cm, 85mm, 3.3in, 240pt or 600px; what it shows is laid out for that [default: as wide
    /// as it needs]
    #[arg(long, value_name = "WIDTH")]
    width: Option<Length>,
    /// What stands over the figure: auto, none, or a text
    #[arg(long, value_name = "TEXT", default_value = "auto", value_parser = words)]
    title: Words,
    /// What stands below it: auto, none, or a text
    #[arg(long, value_name = "TEXT", default_value = "auto", value_parser = words)]
    caption: Words,
    /// The ground that it stands on: light or dark
    #[arg(long, value_name = "THEME", default_value = "light", value_parser = theme)]
    theme: Theme,
}

impl StyleArgs {
    pub fn style(&self) -> Style {
        let Self { width, title, caption, theme } = self;
        Style { width: *width, title: title.clone(), caption: caption.clone(), theme: *theme }
    }
}

fn words(text: &str) -> Result<Words, String> {
    Ok(match text {
        "auto" => Words::Own,
        "none" => Words::None,
        text => Words::These(crate::table::visible_prose(text)),
    })
}

fn theme(text: &str) -> Result<Theme, String> {
    match text {
        "light" => Ok(Theme::Light),
        "dark" => Ok(Theme::Dark),
        _ => Err("not a theme; write light or dark".into()),
    }
}

/// To what files figures go.
#[derive(Args, Debug)]
pub(super) struct FileArgs {
    /// Where to put the figures: a folder, a file such as figure.pdf for a single one, or - for stdout [default: beside the table]
    #[arg(long, value_name = "PLACE")]
    out: Option<PathBuf>,
    /// How they are written: svg, pdf or png, or several with commas between [default: as the name given to --out ends, else svg]
    #[arg(long = "as", value_name = "TYPE", value_delimiter = ',', value_parser = file_type)]
    types: Vec<FileType>,
    /// Pixels of a PNG to an inch
    #[arg(long, value_name = "N", default_value_t = 300, value_parser = clap::value_parser!(u32).range(10..=2400))]
    dpi: u32,
}

fn file_type(text: &str) -> Result<FileType, String> {
    let found = FileType::ALL.into_iter().find(|file| file.extension() == text);
    found.ok_or_else(|| "not a type of figures; write svg, pdf or png".into())
}

/// What names of files end in that are no figures of pellucid's, and that nobody gives a folder.
const OTHERS: [&str; 25] = [
    "jpg", "jpeg", "gif", "webp", "avif", "heic", "tif", "tiff", "bmp", "ico", "eps", "ps", "ai", "emf", "wmf", "html",
    "htm", "tex", "md", "txt", "csv", "tsv", "json", "jsonl", "parquet",
];

/// The type that the name of a file ends in, if it is one that no figure is written as.
fn other_type(path: &Path) -> Option<String> {
    let ending = path.extension()?.to_str()?.to_ascii_lowercase();
    OTHERS.contains(&&*ending).then_some(ending)
}

/// Where figures go.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Place {
    /// Into this folder.
    Folder(PathBuf),
    /// Into this file: there is one.
    File(PathBuf),
    /// To stdout: there is one.
    Stdout,
}

impl Place {
    /// Its folder, if it is in one.
    pub fn folder(&self) -> Option<&Path> {
        match self {
            Self::Folder(folder) => Some(folder),
            Self::File(file) => Some(file.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new("."))),
            Self::Stdout => None,
        }
    }
}

impl FileArgs {
    /// Pixels to an inch.
    pub fn dpi(&self) -> f64 {
        f64::from(self.dpi)
    }

    /// Whether it was said where they go.
    pub fn is_chosen(&self) -> bool {
        self.out.is_some()
    }

    /// Where figures of the table in `file` go, and as what.
    ///
    /// # Errors
    /// When one file is to be of several types, or of another than its name says.
    pub fn place(&self, file: &Path) -> Result<(Place, Vec<FileType>)> {
        let mut types: Vec<FileType> = vec![];
        for each in &self.types {
            if !types.contains(each) {
                types.push(*each);
            }
        }
        let chosen = |types: Vec<FileType>| if types.is_empty() { vec![FileType::Svg] } else { types };
        let Some(out) = &self.out else {
            let beside = file.parent().filter(|beside| !beside.as_os_str().is_empty() && file != Path::new("-"));
            return Ok((Place::Folder(beside.unwrap_or(Path::new(".")).to_owned()), chosen(types)));
        };
        let one = |types: &[FileType]| match types {
            [_, _, ..] => {
                Err(Error::bad_input(format!("{} is one place, and --as names {} types", out.display(), types.len()))
                    .hint("name one type, or a folder with --out"))
            }
            _ => Ok(()),
        };
        if out == Path::new("-") {
            one(&types)?;
            return Ok((Place::Stdout, chosen(types)));
        }
        if let Some(ending) = other_type(out).filter(|_| !out.is_dir()) {
            return Err(Error::bad_input(format!("{ending} is not one of svg, pdf, png"))
                .hint("let the name end in .svg, .pdf or .png, or name a folder"));
        }
        match FileType::of_name(out).filter(|_| !out.is_dir()) {
            None => Ok((Place::Folder(out.clone()), chosen(types))),
            Some(named) => {
                one(&types)?;
                match types.first() {
                    Some(asked) if *asked != named => {
                        let (shown, asked) = (out.display(), asked.extension());
                        Err(Error::bad_input(format!(
                            "{shown} has the name of another type of files than --as {asked}"
                        ))
                        .hint(format!("leave out --as, or let the name end in .{asked}")))
                    }
                    _ => Ok((Place::File(out.clone()), vec![named])),
                }
            }
        }
    }
}
