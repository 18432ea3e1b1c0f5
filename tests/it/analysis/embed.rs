//! Embeddings against numpy in f64 (`tests/fixtures/make_embed.py`) and a naive recomputation of every model, against the grammar that the
//! built-in model was trained on, and as a person sees them.

use std::collections::BTreeSet;

use candle_core::{DType, Tensor};
use pellucid::Result;
use pellucid::analysis::embed::{
    Embed, EmbedAnalogyRow, EmbedMapRow, EmbedNeighborRow, EmbedNormRow, Embedded, Embeddings, Mapped, Unused, analogy,
    map, neighbors, norms, streams,
};
use pellucid::hook::Cache;
use pellucid::model::{Batch, Model};
use pellucid::session::Session;
use pellucid::table::read_rows;
use pellucid::text::{Bos, PromptEntry, build_prompts};
use serde_json::Value;

use crate::bin::{Place, fixture, model};
use crate::help::fixtures::load;
use crate::train::grammar::words;

fn spell(id: u32) -> String {
    format!("#{id}")
}

/// A table of rows in f64.
type Table = Vec<Vec<f64>>;

fn table(x: &Tensor) -> Table {
    x.to_dtype(DType::F64).unwrap().to_vec2().unwrap()
}

/// The vectors of a model's tokens: those that it reads, those that it says.
fn tables(model: &Model) -> [Table; 2] {
    let weights = model.weights();
    [table(&weights.embed.tensor().unwrap()), table(&weights.unembed.weight.tensor().unwrap().t().unwrap())]
}

fn dot(a: &[f64], b: &[f64]) -> f64 {
    a.iter().zip(b).map(|(a, b)| a * b).sum()
}

fn cos(a: &[f64], b: &[f64]) -> f64 {
    let lengths = dot(a, a).sqrt() * dot(b, b).sqrt();
    if lengths > 0.0 { dot(a, b) / lengths } else { 0.0 }
}

fn less(a: &[f64], b: &[f64]) -> Vec<f64> {
    a.iter().zip(b).map(|(a, b)| a - b).collect()
}

fn mean(rows: &Table) -> Vec<f64> {
    (0..rows[0].len()).map(|i| rows.iter().map(|row| row[i]).sum::<f64>() / rows.len() as f64).collect()
}

/// Sums of at most a thousand products in f64, of vectors of ordinary size: their roundings come to less.
const NEAR: f64 = 1e-11;

#[track_caller]
fn near(got: f64, want: f64, what: &str) {
    assert!((got - want).abs() <= NEAR * (1.0 + want.abs()), "{what}: {got} is not {want}");
}

fn neighbor_rows(model: &Model, tokens: &[u32], n: usize) -> Result<Vec<EmbedNeighborRow>> {
    let mut all = vec![];
    // Whatever is compared at one time.
    let memory = if tokens.len().is_multiple_of(2) { 1 } else { 1 << 20 };
    neighbors(&Embeddings::of(model)?, tokens, (n, 0), &spell, memory, &mut |rows| {
        all.extend(rows);
        Ok(())
    })?;
    Ok(all)
}

/// What the neighbours of a vector must be: ids by cosine, and of equals by id.
fn ranked(rows: &Table, of: &[f64], but: Option<usize>) -> Vec<(usize, f64)> {
    let mut all: Vec<(usize, f64)> =
        rows.iter().enumerate().filter(|(i, _)| Some(*i) != but).map(|(i, row)| (i, cos(of, row))).collect();
    all.sort_by(|a, b| b.1.total_cmp(&a.1).then(a.0.cmp(&b.0)));
    all
}

/// Checks one list of neighbours against all cosines. Where two are as near as rounding, either may come first.
fn check(
    own: &[&EmbedNeighborRow],
    rows: &Table,
    (of, centered): (&[f64], &[f64]),
    but: Option<usize>,
    random: &[f64],
    what: &str,
) {
    let want = ranked(rows, of, but);
    let center = mean(rows);
    assert_eq!(own.len(), want.len().min(7), "{what}");
    for (i, row) in own.iter().enumerate() {
        let id = row.neighbor_id as usize;
        assert_eq!(row.rank as usize, i + 1, "{what}");
        near(row.cosine, want[i].1, what);
        near(row.cosine, cos(of, &rows[id]), what);
        near(row.cosine_centered, cos(centered, &less(&rows[id], &center)), &format!("{what}, centred"));
        // 10,000 draws: a share of them has a standard error of half a percent at most, and this is five of these and a tie.
        let below = random.iter().filter(|x| **x < row.cosine - NEAR).count() as f64 / random.len() as f64;
        let tied = random.iter().filter(|x| (**x - row.cosine).abs() <= NEAR).count() as f64 / random.len() as f64;
        let off = row.percentile / 100.0 - below;
        assert!(off >= -0.025 && off <= tied + 0.025, "{what}: percentile {} is not {}", row.percentile, 100.0 * below);
    }
}

fn every_space(name: &str) -> Result<()> {
    let model = load(name);
    let all = tables(&model);
    let tied = model.spec().unembedding.tied;
    let tokens = [5, 60];
    let found = neighbor_rows(&model, &tokens, 7)?;
    let spaces: &[(&str, &Table)] =
        if tied { &[("embed", &all[0])] } else { &[("embed", &all[0]), ("unembed", &all[1])] };
    assert_eq!(found.len(), 7 * tokens.len() * spaces.len(), "{name}");
    for (space, rows) in spaces {
        let pairs: Vec<f64> =
            (0..rows.len()).flat_map(|a| (0..a).map(move |b| (a, b))).map(|(a, b)| cos(&rows[a], &rows[b])).collect();
        for token in tokens {
            let of = |row: &&EmbedNeighborRow| row.token_id == token && row.space == *space && row.among == *space;
            let own: Vec<&EmbedNeighborRow> = found.iter().filter(of).collect();
            let vector = &rows[token as usize];
            let centered = less(vector, &mean(rows));
            check(&own, rows, (vector, &centered), Some(token as usize), &pairs, &format!("{name} {space} {token}"));
        }
    }
    // What the token has become in a prompt, by a run of its own.
    let ids = [5, 9, 60, 5];
    let prompt = build_prompts(&[PromptEntry::ids(ids)], None, model.spec().d_vocab, None, Bos::Never)?.remove(0);
    let mut of_stream = vec![];
    streams(&model, &Embeddings::of(&model)?, (&prompt, &tokens), (7, 0), &spell, &mut |rows| {
        of_stream.extend(rows);
        Ok(())
    })?;
    let n_layers = model.spec().n_layers();
    let last = format!("blocks.{}.hook_resid_post", n_layers - 1);
    let mut cache = Cache::new(model.spec(), &format!("blocks.0.hook_resid_pre,{last}"))?;
    model.forward(&Batch::one(ids), &mut [&mut cache])?;
    let streams = [(0, table(cache.get("blocks.0.hook_resid_pre")?)), (n_layers, table(cache.get(&last)?))];
    assert_eq!(of_stream.len(), 7 * 3 * 2 * spaces.len(), "{name}");
    for (layer, stream) in &streams {
        for (pos, id) in ids.iter().enumerate().filter(|(_, id)| tokens.contains(id)) {
            for (among, rows) in spaces {
                let of = |row: &&EmbedNeighborRow| {
                    (row.layer, row.pos, row.token_id) == (Some(*layer as u32), Some(pos as u32), *id)
                        && row.among == *among
                };
                let own: Vec<&EmbedNeighborRow> = of_stream.iter().filter(of).collect();
                assert!(own.iter().all(|row| row.space == "stream"));
                let random: Vec<f64> = rows.iter().map(|row| cos(&stream[pos], row)).collect();
                // Before the first block it is a row of the embedding, times the factor, unless a norm came between.
                let embedding = &model.spec().embedding;
                let is_row = *layer == 0 && *among == "embed" && embedding.norm.is_none();
                let factor = if is_row { embedding.scale.unwrap_or(1.0) } else { 0.0 };
                let common: Vec<f64> = mean(rows).iter().map(|x| x * factor).collect();
                let centered = less(&stream[pos], &common);
                check(
                    &own,
                    rows,
                    (&stream[pos], &centered),
                    None,
                    &random,
                    &format!("{name} stream {layer} {pos} {among}"),
                );
            }
        }
    }
    Ok(())
}

for_every_model! {
    /// Invariant: Neighbours, cosines with the mean row and without, and percentiles are those of every two rows compared in f64, in every
    /// family, in the embedding, the unembedding and the stream.
    fn neighbours_are_those_of_every_row_compared = every_space;
}

fn numbers(of: &Value) -> Vec<f64> {
    of.as_array().unwrap().iter().map(|x| x.as_f64().unwrap()).collect()
}

fn known(name: &str) -> Result<(Model, Value, Value)> {
    let all: Value = serde_json::from_str(include_str!("../../fixtures/embed.json")).unwrap();
    let model = if name == "demo" { Session::open("demo")?.model } else { Model::load(&fixture(name))? };
    let own = all["models"][name].clone();
    Ok((model, own, all))
}

const KNOWN: [&str; 4] = ["gpt2", "gpt_neox", "hooked_ln", "demo"];

/// Invariant: Neighbours, analogies, lengths, the indicators of untrained tokens and the map are those that numpy computes in f64.
#[test]
fn numbers_are_those_of_numpy() -> Result<()> {
    for name in KNOWN {
        let (model, want, all) = known(name)?;
        let of = Embeddings::of(&model)?;
        let ids = |key: &str| numbers(&all[key]).into_iter().map(|x| x as u32).collect::<Vec<u32>>();
        let found = neighbor_rows(&model, &ids("tokens"), 6)?;
        for (space, tokens) in want["neighbors"].as_object().unwrap() {
            for (token, rows) in tokens.as_object().unwrap() {
                let own = found.iter().filter(|row| row.space == *space && row.token_id.to_string() == *token);
                for (row, want) in own.zip(rows.as_array().unwrap()) {
                    let (want, what) = (numbers(want), format!("{name} {space} {token}"));
                    assert_eq!(row.neighbor_id, want[0] as u32, "{what}");
                    near(row.cosine, want[1], &what);
                    near(row.cosine_centered, want[2], &what);
                }
            }
        }
        for (i, asked) in all["analogies"].as_array().unwrap().iter().enumerate() {
            let asked = numbers(asked);
            let mut found: Vec<EmbedAnalogyRow> = vec![];
            analogy(&of, [0, 1, 2].map(|i: usize| asked[i] as u32), 6, &spell, &mut |rows| {
                found.extend(rows);
                Ok(())
            })?;
            for (space, analogies) in want["analogies"].as_object().unwrap() {
                let own: Vec<_> = found.iter().filter(|row| row.space == *space && row.rank.is_some()).collect();
                let rows = analogies[i].as_array().unwrap();
                assert_eq!(own.len(), rows.len(), "{name} {space}");
                for (row, want) in own.into_iter().zip(rows) {
                    let (want, what) = (numbers(want), format!("{name} {space} {asked:?}"));
                    assert_eq!((row.token_id, row.rank_with_inputs), (want[0] as u32, want[2] as u32), "{what}");
                    near(row.score, want[1], &what);
                    near(row.offset_cos, want[3], &what);
                }
                // The given ones stand where they would be.
                let given: BTreeSet<u32> = found
                    .iter()
                    .filter(|row| row.space == *space && row.rank.is_none())
                    .map(|row| row.token_id)
                    .collect();
                assert_eq!(given, asked.iter().map(|x| *x as u32).collect(), "{name} {space}");
            }
        }
        let unused = Unused { ids: ids("unused"), without_entry: 0 };
        let mut lengths: Vec<EmbedNormRow> = vec![];
        norms(&of, &unused, 0, &spell, &mut |row| {
            lengths.push(row);
            Ok(())
        })?;
        for want in want["norms"].as_array().unwrap() {
            let want = numbers(want);
            let row = &lengths[want[0] as usize];
            let got = [
                row.norm_in, row.norm_out, row.cos_to_mean, row.unused_l2, row.unused_cos, row.unused_cos_no_mean,
                row.unused_cos_no_component,
            ];
            for (i, (got, want)) in got.into_iter().zip(&want[1..]).enumerate() {
                // A component is sought until what is left is a 1e-10 of the largest, and lies that over the gap to the next one off.
                let allowed = if i == 6 { 1e-7 } else { NEAR * (1.0 + want.abs()) };
                let got = got.unwrap();
                assert!((got - want).abs() <= allowed, "{name} token {} number {i}: {got} is not {want}", row.token_id);
            }
        }
        check_map(name, &of, &want["map"])?;
    }
    Ok(())
}

fn check_map(name: &str, of: &Embeddings, want: &Value) -> Result<()> {
    let ids: Vec<u32> = numbers(&want["ids"]).into_iter().map(|x| x as u32).collect();
    let mapped = Mapped { classes: vec![None; ids.len()], ids, ..Mapped::default() };
    let rows = map(of, &mapped, 0, &spell)?;
    let (shares, values) = (numbers(&want["shares"]), numbers(&want["values"]));
    // Over the gap to the next component, in squares as the covariance has them.
    let gap = (values[0] * values[0] - values[1] * values[1]).min(values[1] * values[1] - values[2] * values[2]);
    let allowed = values[0] * values[0] / gap * 1e-9 * values[0] + NEAR;
    for (row, want) in rows.iter().zip(want["at"].as_array().unwrap()) {
        let want = numbers(want);
        let off = (row.x - want[0]).abs().max((row.y - want[1]).abs());
        assert!(off <= allowed, "{name} {}: {}, {} is not {want:?} within {allowed:e}", row.token_id, row.x, row.y);
        near(row.explained_x, shares[0], name);
        near(row.explained_y, shares[1], name);
    }
    // Another start comes to the same place.
    let again = map(of, &mapped, 7, &spell)?;
    assert!(rows.iter().zip(&again).all(|(a, b)| (a.x - b.x).abs() + (a.y - b.y).abs() <= 2.0 * allowed), "{name}");
    assert_eq!(rows, map(of, &mapped, 0, &spell)?, "{name}: the same request gives the same numbers");
    Ok(())
}

/// The kinds of words that the built-in model was trained on.
fn kinds() -> Vec<(&'static str, Vec<&'static str>)> {
    fn first<T: Copy>(of: &[(T, T)]) -> Vec<T> {
        of.iter().map(|(a, _)| *a).collect()
    }
    fn second<T: Copy>(of: &[(T, T)]) -> Vec<T> {
        of.iter().map(|(_, b)| *b).collect()
    }
    vec![
        ("names", first(words::NAMES)),
        ("places", words::PLACES.to_vec()),
        ("objects", words::OBJECTS.to_vec()),
        ("countries", first(words::CAPITALS)),
        ("capitals", second(words::CAPITALS)),
    ]
}

/// Of the 10 nearest of each word of a kind, among all tokens, how many are words of the kind: the mean.
fn precision_at_10(session: &Session, model: &Model, kind: &[&str]) -> Result<f64> {
    let spelled = |id: u32| session.tokenizer.as_ref().unwrap().token_text(id);
    let tokens: BTreeSet<u32> = kind.iter().filter_map(|word| session.target(&format!(" {word}")).ok()).collect();
    let tokens: Vec<u32> = tokens.into_iter().collect();
    assert!(tokens.len() >= 20, "{} words are tokens", tokens.len());
    let found = neighbor_rows(model, &tokens, 10)?;
    let same = found.iter().filter(|row| kind.contains(&spelled(row.neighbor_id).trim())).count();
    Ok(same as f64 / found.len() as f64)
}

/// Invariant: In the built-in model names are near names and places near places: of the ten nearest neighbours of a word most are of its own list in
/// the grammar, and of a model whose rows are shuffled hardly one is.
#[test]
fn words_of_one_kind_are_neighbours() -> Result<()> {
    let session = Session::open("demo")?;
    let mut shuffled = session.model.weights().clone();
    let rows = shuffled.embed.tensor()?;
    let n = rows.dim(0)? as u32;
    // 1021 is prime to the number of rows.
    let order: Vec<u32> = (0..n).map(|i| (i * 1021 + 7) % n).collect();
    shuffled.embed = rows.index_select(&Tensor::new(order, rows.device())?, 0)?.into();
    let shuffled = Model::new(session.model.spec().clone(), shuffled)?;
    for (kind, words) in kinds() {
        let (of, by_chance) =
            (precision_at_10(&session, &session.model, &words)?, precision_at_10(&session, &shuffled, &words)?);
        println!("{kind}: precision at 10 {of:.3}, of shuffled rows {by_chance:.3}");
        // A word list is a few percent of the vocabulary; more than half of the neighbours in it is no chance.
        assert!(of > 0.6, "{kind}: {of}");
        assert!(by_chance < 0.2, "{kind}, shuffled: {by_chance}");
    }
    Ok(())
}

/// Invariant: Tokens that no text has are found in the tokenizer, and no other: bytes that are not of UTF-8, rows without an entry.
#[test]
fn unused_tokens_are_known_by_the_tokenizer() -> Result<()> {
    let session = Session::open("demo")?;
    let tokenizer = session.tokenizer.as_ref().unwrap();
    let n = tokenizer.vocab_size();
    let unused = Unused::of(Some(tokenizer), n + 3);
    // C0, C1 and F5 to FF: 13 bytes, each a token of a byte-level vocabulary.
    assert_eq!((unused.ids.len(), unused.without_entry), (16, 3));
    assert_eq!(unused.ids[13..], [n as u32, n as u32 + 1, n as u32 + 2]);
    let bytes: BTreeSet<Vec<u8>> = unused.ids[..13].iter().map(|id| tokenizer.token(*id).spells.clone()).collect();
    assert!(bytes.iter().all(|byte| matches!(byte[..], [0xc0 | 0xc1 | 0xf5..=0xff])) && bytes.len() == 13);
    assert_eq!(Unused::of(None, 50), Unused::default());
    // They were never trained: nearer to each other's mean than nearly all others.
    let all = session.run(&Embed { map: 0, ..Embed::default() }, Embedded::default())?;
    let mut sizes: Vec<(f64, bool)> =
        all.1.rows().iter().map(|row| (row.unused_cos_no_component.unwrap(), row.known_unused)).collect();
    sizes.sort_by(|a, b| a.0.total_cmp(&b.0));
    let first = sizes.iter().take(60).filter(|(_, known)| *known).count();
    println!("{first} of 13 unused tokens are among the 60 that look least trained");
    assert!(first >= 7, "{first}");
    Ok(())
}

/// Invariant: A word is neighbour of others as it is written, of several pieces the one that is chosen; what cannot be asked is one sentence.
#[test]
fn words_are_asked_as_they_are_written() -> Result<()> {
    let place = Place::new();
    let done = place.ok(["embed", " Mary", "--neighbors", "4", "--analogy", "France Paris Spain", "--out", "run"]);
    assert!(done.stdout.contains("Neighbours of \"·Mary\"") && done.stdout.contains("cosine"), "{}", done.stdout);
    assert!(done.stderr.contains("one matrix (tied)"), "{}", done.stderr);
    let (near, provenance) = read_rows::<EmbedNeighborRow>(place.path("run/embed_neighbors.parquet"))?;
    assert_eq!((near.len(), near[0].token.as_str()), (4, " Mary"));
    let said = provenance.command.join(" ");
    assert!(said.ends_with("--neighbors 4 --analogy France Paris Spain  Mary"), "{said}");
    let (analogies, _) = read_rows::<EmbedAnalogyRow>(place.path("run/embed_analogy.parquet"))?;
    assert_eq!(analogies.len(), 7);
    assert_eq!([&*analogies[0].a, &*analogies[0].b, &*analogies[0].c], [" France", " Paris", " Spain"]);
    // What is of no word is asked for without one.
    assert!(!place.path("run/embed_norms.parquet").exists());
    place.ok(["embed", "--map", "0", "--out", "all"]);
    let (lengths, _) = read_rows::<EmbedNormRow>(place.path("all/embed_norms.parquet"))?;
    assert_eq!(lengths.len(), 2048);
    let (at, _) = read_rows::<EmbedMapRow>(place.path("run/embed_map.parquet"))?;
    assert!(at[0].asked && at[0].token == " Mary" && !at[1].asked && at.len() == 2000);
    for figure in ["run/embed_neighbors", "run/embed_analogy", "all/embed_norms", "run/embed_map"] {
        let svg = String::from_utf8(place.read(&format!("{figure}.svg"))).unwrap();
        roxmltree::Document::parse(&svg).unwrap();
    }
    // In a prompt, where it stands twice.
    let text = "When Mary and John went to the store, John gave a drink to Mary";
    place.ok(["embed", " Mary", "--context", text, "--out", "stream", "--map", "0"]);
    let (near, _) = read_rows::<EmbedNeighborRow>(place.path("stream/embed_neighbors.parquet"))?;
    let places: BTreeSet<_> = near.iter().filter_map(|row| Some((row.pos?, row.layer?))).collect();
    assert_eq!((places.len(), near.len()), (4, 50));
    assert!(!place.path("stream/embed_map.svg").exists());
    // Before the first block it is still itself.
    let first = near.iter().find(|row| row.layer == Some(0)).unwrap();
    assert!(first.neighbor == " Mary" && first.same_word && first.rank == 1, "{first:?}");
    // Pieces.
    place.ok(["embed", " Maryland", "--piece", "0", "--out", "piece"]);
    let (near, _) = read_rows::<EmbedNeighborRow>(place.path("piece/embed_neighbors.parquet"))?;
    assert_eq!(near[0].token, " Mary");
    place.refused(["embed", " Maryland"], 2, "\"·Maryland\" is ");
    place.refused(["embed", " Maryland", "--piece", "9"], 2, "has no piece 9");
    place.refused(["embed", "#9999"], 2, "there is no token #9999");
    place.refused(
        ["embed", " Mary", "--context", "Tom met Ben"],
        2,
        "\"·Mary\" is not in the context, whose tokens are",
    );
    place.refused(["embed", "--context", "Tom met Ben"], 2, "no word to look for");
    place.refused(["embed", "--analogy", "France Paris"], 2, "the analogy \"France·Paris\" is 2 words");
    place.refused(["embed", "--analogy", "France Paris Xyzzyland"], 2, "the analogy \"France·Paris·Xyzzyland\": ");
    place.refused(["embed", "--class", "names"], 2, "is no class with its words");
    place.refused(["embed", "--class", "a=Mary Tom", "--class", "b=Tom"], 2, "is given twice among the classes");
    // A model without a tokenizer takes ids.
    let llama = model("llama");
    place.refused(["embed", "-m", &llama, " Mary"], 2, "the model has no tokenizer");
    place.ok(["embed", "-m", &llama, "#5", "--context", "#5,7", "--analogy", "#1 #2 #3", "--out", "words"]);
    let done = place.ok(["embed", "-m", &llama, "--out", "ids"]);
    assert!(done.stderr.contains("no token is known to be unused"), "{}", done.stderr);
    let (lengths, _) = read_rows::<EmbedNormRow>(place.path("ids/embed_norms.parquet"))?;
    assert!(lengths.iter().all(|row| row.unused_cos.is_none() && row.norm_in.is_some()));
    Ok(())
}

/// Invariant: What scales the embedding is said, and changes no cosine.
#[test]
fn what_scales_the_embedding_is_said() {
    let place = Place::new();
    let done = place.ok(["embed", "-m", &model("gemma2"), "#5", "--out", "run"]);
    assert!(done.stderr.contains("the model multiplies what it reads by 4"), "{}", done.stderr);
    let done = place.ok(["embed", "-m", &model("gpt_neox"), "#5", "--out", "two"]);
    assert!(done.stderr.contains("two matrices") && done.stdout.contains("unembedding W_U"), "{}", done.stderr);
}

/// Invariant: On the map no name lies on another or on a dot; kinds have a shape each, and the caption says how well they stand apart.
#[test]
fn names_on_the_map_can_be_read() -> Result<()> {
    let place = Place::new();
    let class = |(name, words): &(&str, Vec<&str>)| format!("{name}={}", words.join(" "));
    let [names, places, ..] = &kinds()[..] else { unreachable!() };
    let done = place.ok(["embed", "--class", &class(names), "--class", &class(places), "--out", "run"]);
    assert!(done.stderr.contains("embed_map.svg") || !done.stderr.is_empty());
    let svg = String::from_utf8(place.read("run/embed_map.svg")).unwrap();
    let svg = roxmltree::Document::parse(&svg).unwrap();
    let number = |node: roxmltree::Node, name: &str| node.attribute(name).unwrap().parse::<f64>().unwrap();
    let circles = svg.descendants().filter(|node| node.has_tag_name("circle") && node.children().next().is_some());
    let dots: Vec<(f64, f64, f64)> = circles.map(|c| (number(c, "cx"), number(c, "cy"), number(c, "r"))).collect();
    let labels: Vec<(f64, f64, f64, f64)> = svg
        .descendants()
        .filter(|node| node.has_tag_name("text") && node.attribute("font-size") == Some("9.5"))
        .map(|node| {
            // As wide as letters are taken to be, and as high as they are.
            let (x, y, w) =
                (number(node, "x"), number(node, "y"), 9.5 * 0.58 * node.text().unwrap().chars().count() as f64);
            let left = match node.attribute("text-anchor") {
                Some("end") => x - w,
                Some(_) => x - w / 2.0,
                None => x,
            };
            (left, y - 0.85 * 9.5, w, 9.5)
        })
        .collect();
    assert!(dots.len() >= 70 && labels.len() >= 60, "{} dots, {} names", dots.len(), labels.len());
    for (i, a) in labels.iter().enumerate() {
        let apart = |b: &(f64, f64, f64, f64)| a.0 > b.0 + b.2 || b.0 > a.0 + a.2 || a.1 > b.1 + b.3 || b.1 > a.1 + a.3;
        assert!(labels[..i].iter().all(apart), "{a:?}");
        assert!(dots.iter().all(|(x, y, r)| apart(&(x - r, y - r, 2.0 * r, 2.0 * r))), "{a:?}");
    }
    let (rows, _) = read_rows::<EmbedMapRow>(place.path("run/embed_map.parquet"))?;
    let share = rows.iter().map(|row| row.same_class_of_10.unwrap()).sum::<f64>() / rows.len() as f64;
    assert!(share > 0.95, "{share}");
    Ok(())
}
