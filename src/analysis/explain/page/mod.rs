//! The page: one file of HTML that needs nothing else, complete without script, made of [`Facts`] alone.

mod answer;
mod attention;
mod cost;
mod embed;
mod ffn;
mod figure;
mod frame;
mod limits;
mod mechanisms;
mod position;
mod sampling;
mod stream;
mod tokens;
mod traces;
pub mod words;
mod write;

use super::facts::Facts;
use super::options::Lang;
pub use frame::{CONTENT_SECURITY, SCRIPT, STYLE};
pub use words::Tongue;
use write::Writer;

/// The page of one prompt, in one language or both.
pub fn html(facts: &Facts, lang: Lang) -> String {
    let tongues: &[Tongue] = match lang {
        Lang::En => &[Tongue::En],
        Lang::Zh => &[Tongue::Zh],
        Lang::Both => &[Tongue::En, Tongue::Zh],
    };
    let mut out = frame::head(facts, tongues);
    for tongue in tongues {
        let mut w = Writer::new(facts, *tongue);
        frame::begin(&mut w);
        answer::answer(&mut w);
        tokens::tokens(&mut w);
        embed::embed(&mut w);
        position::position(&mut w);
        attention::attention(&mut w);
        ffn::ffn(&mut w);
        stream::stream(&mut w);
        answer::board(&mut w);
        sampling::sampling(&mut w);
        traces::traces(&mut w);
        cost::cost(&mut w);
        mechanisms::mechanisms(&mut w);
        limits::limits(&mut w);
        frame::end(&mut w);
        out.push_str(&w.out);
    }
    frame::foot(&mut out);
    out
}
