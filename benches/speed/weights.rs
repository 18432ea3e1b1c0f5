//! What is read off weights: neighbours of a token, the map of tokens, and what kind each head is.

use anyhow::Result;
use pellucid::analysis::embed::{Embed, Embedded, Word};
use pellucid::analysis::heads::{Find, Heads};
use pellucid::session::Session;

use crate::Bench;
use crate::clock::take_turns;
use crate::export::{forward, with_tokenizer};

pub fn measure(bench: &Bench) -> Result<()> {
    let real = bench.shape.d_model > 100;
    let session = match real {
        true => Session::open(&with_tokenizer(&bench.folder)?.display().to_string())?,
        // The tiny shape has fewer tokens than any tokenizer.
        false => Session::open("demo")?,
    };
    let embed = |map: usize| -> Result<()> {
        let words = vec![Word { text: "#5".into(), ids: vec![5] }];
        drop(session.run(&Embed { map, ..Embed::default() }, Embedded { words, context: None })?);
        Ok(())
    };
    let (mut near, mut mapped) = (|| embed(0), || embed(2000));
    let times = take_turns(bench.reps, &mut [&mut near, &mut mapped])?;
    bench.say.times("weights", "neighbours of one token", 1, &times[0]);
    bench.say.times("weights", "and a map of 2000", 2000, &times[1]);

    let asked = |find: &[Find], texts: usize| Heads { find: find.to_vec(), texts, ..Heads::default() };
    // What is read off weights, whether a head copies, takes as long whatever the number of texts. So two numbers of texts are timed, and what
    // the larger one takes more is compared with passes over its further texts.
    let (few, more, length) = if real { (10, 50, 50) } else { (2, 2, 5) };
    let heads = |texts: usize| Heads { length: Some(length), ..asked(&[Find::Heads], texts) };
    // Each text is read as it is, and in random order; a token of the model's own may begin it.
    let tokens = 2 * more * (2 * length + 1);
    let mut bare = || forward(&session.model, tokens, 2 * length + 1);
    let scores = |texts: usize| session.run(&heads(texts), ()).map(drop).map_err(Into::into);
    let (mut one, mut two) = (|| scores(few), || scores(few + more));
    let times = take_turns(bench.reps.min(5), &mut [&mut bare, &mut one, &mut two])?;
    let further = times[2].less(&times[1]);
    bench.say.times("weights", "bare forward passes", tokens, &times[0]);
    bench.say.times("weights", "scores of as many tokens more", tokens, &further);
    bench.say.ratio("weights", "further scores over bare", tokens, &further.over(&times[0]), Some(1.2));
    let texts = few;
    let maps = asked(&[Find::Pairs, Find::Svd], texts);
    let mut all = || session.run(&maps, ()).map(drop).map_err(Into::into);
    let times = take_turns(bench.reps.min(3), &mut [&mut all])?;
    bench.say.times("weights", "pairs and SVD of all heads", 0, &times[0]);
    Ok(())
}
