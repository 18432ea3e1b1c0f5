//! What the page claims of a prompt: each claim is said where it is so, as tables that are read again say, and not where it is not.

use std::collections::BTreeSet;

use pellucid::Result;
use pellucid::analysis::explain::claims::{changes_little, decided, furthest, is_tiny, stands_out};
use pellucid::analysis::explain::page::words::{Tongue, text};
use pellucid::analysis::explain::{Facts, Lang};
use pellucid::analysis::loss::Loss;
use pellucid::glossary::by_key;
use pellucid::session::Session;
use pellucid::text::PromptEntry;

use super::explain::{NAMES, STRAWBERRY, page};

/// The parts of a string between its places and links, long enough to be known by.
fn parts(key: &str, tongue: Tongue) -> Vec<&'static str> {
    let between = text(key, tongue).split(['{', '[']).enumerate().map(|(i, part)| match i {
        0 => part,
        _ => part.split_once(['}', ']']).map_or(part, |(_, rest)| rest),
    });
    // Brackets and stops beside a link stand in one line with it.
    let bare = between.map(|part| part.trim_matches(|c| " (（“)）”,.:;，。：；、".contains(c)));
    bare.filter(|part| part.chars().count() >= 3).collect()
}

/// Whether the page says this string: all parts of it, one after another, in one paragraph.
fn says(html: &str, key: &str, tongue: Tongue) -> bool {
    html.split("<p").filter_map(|p| p.split_once("</p>")).any(|(p, _)| {
        let mut rest = p;
        parts(key, tongue).into_iter().all(|part| match rest.split_once(part) {
            Some((_, after)) => {
                rest = after;
                true
            }
            None => false,
        })
    })
}

/// Of strings of which one is said: which.
#[track_caller]
fn said(html: &str, of: &[&'static str]) -> &'static str {
    let both = [Tongue::En, Tongue::Zh].map(|tongue| {
        let mut said: Vec<_> = of.iter().copied().filter(|key| says(html, key, tongue)).collect();
        // All that one says may stand in another, which says more.
        let size = |key: &&str| parts(key, tongue).into_iter().map(str::len).sum::<usize>();
        let longest = said.iter().map(size).max();
        said.retain(|key| Some(size(key)) == longest);
        assert_eq!(said.len(), 1, "{said:?} of {of:?}");
        said[0]
    });
    assert_eq!(both[0], both[1]);
    both[0]
}

/// Of the head that pushes the target most, what it does at the last position with each key: key, probability, push; from the tables alone.
fn strongest(facts: &Facts) -> Vec<(u32, f32, f32)> {
    let last = facts.prompt.tokens.len() as u32 - 1;
    let mut best: Option<&pellucid::analysis::residual::rows::ResidualHeadRow> = None;
    for row in facts.heads.iter().filter(|row| row.head.is_some()) {
        if best.is_none_or(|best| row.push.abs() >= best.push.abs()) {
            best = Some(row);
        }
    }
    let best = best.unwrap();
    let head = (best.layer, best.head.unwrap());
    let own = facts.attention.iter().filter(|row| (row.layer, row.head) == head && row.query_pos == last);
    own.map(|row| (row.key_pos, row.prob, row.push.unwrap())).collect()
}

fn first_of(facts: &Facts, run: &str) -> Option<u32> {
    let own = facts.swapped.iter().filter(|row| row.run == run);
    own.max_by(|a, b| a.prob.total_cmp(&b.prob).then(b.rank.cmp(&a.rank))).map(|row| row.token_id)
}

/// Invariant: What the page claims is computed: where it is not so, it says something else, in both languages.
#[test]
fn claims_are_false_where_they_are_false() -> Result<()> {
    assert_eq!(
        [stands_out(&[1.0, -3.0, 2.0]), stands_out(&[1.0, -3.0, 1.9]), stands_out(&[]), stands_out(&[0.0])],
        [None, Some(1), None, None]
    );
    assert!(decided(1, 4) && !decided(3, 4) && changes_little(0.09) && !changes_little(0.1));
    assert!(is_tiny(9e-13) && !is_tiny(1e-12));
    assert_eq!(furthest(&[1.0, -2.0, 4.0, 0.0, 3.0, 2.0]), (vec![2, 4, 5], Some(1)));
    assert_eq!(
        (furthest(&[1.0, 0.0]), furthest(&[-1.0]), furthest(&[])),
        ((vec![0], None), (vec![], Some(0)), (vec![], None))
    );
    let ids = |ids: &[u32]| PromptEntry::ids(ids.to_vec());
    let pages = [
        ("demo", PromptEntry::text(STRAWBERRY)),
        ("demo", PromptEntry::text(NAMES)),
        ("demo", PromptEntry::text("The box is red. The box is")),
        ("demo", PromptEntry::text("two plus three is")),
        ("demo", PromptEntry::text("Mary likes milk. John likes")),
        ("demo", ids(&[380])),
        ("demo", ids(&[860])),
        ("gpt2", ids(&[5, 3, 9, 5, 2])),
        ("gpt2", ids(&[5, 3])),
        ("llama", ids(&[7, 3, 11, 3, 7, 5])),
        ("bloom", ids(&[7, 3, 11, 3, 7, 5])),
    ];
    let mut seen = BTreeSet::new();
    for (model, entry) in pages {
        let (html, facts) = page(model, &entry, Lang::Both)?;
        let p = facts.candidates[0].prob;
        let rest: f64 = 1.0 - p;
        let answer = match () {
            () if rest <= 0.1 => "answer.nearly",
            () if p > rest => "answer.more",
            () => "answer.not",
        };
        assert_eq!(said(&html, &["answer.nearly", "answer.more", "answer.not"]), answer, "{model}");
        seen.insert(answer);

        let keys = strongest(&facts);
        let most = |of: &dyn Fn(&(u32, f32, f32)) -> f32| {
            keys.iter().fold(None::<&(u32, f32, f32)>, |a, b| if a.is_none_or(|a| of(b) > of(a)) { Some(b) } else { a })
        };
        let (looked, pushed) = (most(&|key| key.1).unwrap().0, most(&|key| key.2.abs()).unwrap().0);
        let looks = match () {
            () if keys.len() == 1 => "attention.only",
            () if looked == pushed => "attention.alike",
            () => "attention.differ",
        };
        assert_eq!(said(&html, &["attention.only", "attention.alike", "attention.differ"]), looks, "{model}");
        seen.insert(looks);

        let last = facts.prompt.tokens.len() as u32 - 1;
        let mut resting = 0;
        for row in &facts.attention {
            // A head with one key has all of it there, and rests nowhere.
            resting += usize::from(row.query_pos == last && last != 0 && row.key_pos == 0 && row.prob > 0.5);
        }
        let sinks = if resting > 0 { "attention.sinks" } else { "attention.nosinks" };
        assert_eq!(said(&html, &["attention.sinks", "attention.nosinks"]), sinks, "{model}");
        assert_eq!(facts.number("sinks", None).unwrap().1.value, resting as f64);
        seen.insert(sinks);
        let rests = keys.iter().any(|key| key.0 == 0 && key.1 > 0.5) && last != 0;
        let from_earlier =
            facts.attention.iter().any(|row| row.query_pos == last && row.key_pos != last && row.push.unwrap() > 0.0);
        let first = facts.candidates[0].token.as_deref().unwrap();
        let space = !first.is_empty() && first.trim_matches(' ').is_empty();
        let is_plain = facts.spec.unembedding.cap.is_none() && facts.spec.unembedding.scale.is_none();
        for (claim, holds) in [
            ("attention.carries", rests && pushed == 0),
            ("attention.earlier", from_earlier),
            ("answer.space", space),
            ("traces.tiny", facts.generated[0].log_prob < -27.7),
            ("stream.mean", is_plain),
        ] {
            for tongue in [Tongue::En, Tongue::Zh] {
                assert_eq!(says(&html, claim, tongue), holds, "{model}: {claim}");
            }
            seen.insert(if holds { claim } else { "" });
        }

        // The nearest of all tokens' first neighbours: of one that is another word, where there is one.
        let own: Vec<_> = facts.neighbors.iter().filter(|row| row.space == "embed" && row.rank == 1).collect();
        let others: Vec<_> = own.iter().filter(|row| !row.same_word).collect();
        let among = if others.is_empty() { own.iter().collect() } else { others };
        let nearest = among.into_iter().max_by(|a, b| a.cosine.total_cmp(&b.cosine)).unwrap();
        let near = match () {
            () if nearest.percentile < 99.0 => "embed.nothing",
            () if nearest.same_word => "embed.same",
            () => "embed.near",
        };
        assert_eq!(said(&html, &["embed.near", "embed.same", "embed.nothing"]), near, "{model}");
        seen.insert(near);

        if facts.swap.is_some() {
            let kl = facts.swapped.iter().find(|row| row.run == "swapped").unwrap().kl_bits;
            let swap = match () {
                () if first_of(&facts, "swapped") != first_of(&facts, "given") => "position.another",
                () if kl < 0.1 => "position.little",
                () => "position.same",
            };
            assert_eq!(said(&html, &["position.another", "position.same", "position.little"]), swap, "{model}");
            seen.insert(swap);
        }

        let pushes: Vec<f64> = facts.residual.iter().filter(|row| row.kind != "bias").map(|row| row.push).collect();
        let stroke = if stands_out(&pushes).is_some() { "stream.strongest" } else { "stream.nothing" };
        assert_eq!(said(&html, &["stream.strongest", "stream.nothing"]), stroke, "{model}");
        seen.insert(stroke);

        let single = facts.candidates[0].prob > 0.9;
        for tongue in [Tongue::En, Tongue::Zh] {
            assert_eq!(says(&html, "sampling.single", tongue), single, "{model}");
        }
        seen.insert(if single { "sampling.single" } else { "sampling.many" });
    }
    for claim in [
        "answer.nearly", "answer.more", "answer.not", "attention.only", "attention.alike", "attention.differ",
        "attention.sinks", "attention.nosinks", "embed.near", "embed.same", "embed.nothing", "position.another",
        "position.same", "position.little", "stream.strongest", "stream.nothing", "attention.earlier", "stream.mean",
        "sampling.single", "sampling.many",
    ] {
        assert!(seen.contains(claim), "no page says {claim}: {seen:?}");
    }
    Ok(())
}

/// Invariant: A page of a text that is unlike what the built-in model was trained on begins with saying so, in both languages, and no other page does.
#[test]
fn a_text_that_the_model_never_learnt_is_said_first() -> Result<()> {
    let demo = Session::open("demo")?;
    let vocabulary = 2048.0;
    for (text, unlike) in [
        ("My dog is called Rex and he likes to", true),
        ("I love you", true),
        ("The capital of France is", false),
        (NAMES, false),
    ] {
        let (html, facts) = page("demo", &PromptEntry::text(text), Lang::Both)?;
        let (_, of_text, _) = demo.run(&Loss::default(), &[demo.prompt(text)?])?;
        let perplexity = of_text.rows()[0].perplexity;
        assert_eq!(perplexity > vocabulary, unlike, "{text}: {perplexity}");
        let foreseen = facts.number("foreseen", None).unwrap().1.value;
        assert!((foreseen * perplexity - 1.0).abs() < 1e-9, "{text}: {foreseen} and {perplexity}");
        assert_eq!(facts.number("guess", None).unwrap().1.value, 1.0 / vocabulary);
        for tongue in [Tongue::En, Tongue::Zh] {
            assert_eq!(says(&html, "page.unlike", tongue), unlike, "{text}");
        }
        assert_eq!(html.matches("</h1><p role=\"note\">").count(), if unlike { 2 } else { 0 }, "{text}");
    }
    // Of ids, of one token and of other models nothing is known.
    for (model, entry) in [
        ("demo", PromptEntry::ids(vec![5, 1000, 7, 1200])),
        ("demo", PromptEntry::ids(vec![380])),
        ("gpt2", PromptEntry::ids(vec![5, 3, 9])),
    ] {
        let (html, facts) = page(model, &entry, Lang::En)?;
        assert!(facts.number("surprise", None).is_none() && !html.contains("role=\"note\""), "{model}");
    }
    Ok(())
}

/// Invariant: A word with a dotted line opens its entry, each entry has such a word, and "1 tokens" is nowhere.
#[test]
fn words_open_what_they_mean() -> Result<()> {
    for entry in [PromptEntry::text(NAMES), PromptEntry::text("The")] {
        let (html, _) = page("demo", &entry, Lang::Both)?;
        let of = |attribute: &str| -> BTreeSet<&str> {
            html.split(attribute).skip(1).map(|rest| rest.split_once('"').unwrap().0).collect()
        };
        let opened = of("popovertarget=\"");
        let entries: BTreeSet<&str> = of("<div id=\"").into_iter().filter(|id| id.contains("-term-")).collect();
        assert!(opened == entries && opened.len() > 30, "{opened:?} {entries:?}");
        for id in opened {
            assert!(by_key(id.split_once("-term-").unwrap().1).is_some(), "{id}");
        }
        for wrong in
            [">1</data> tokens", ">1</data> layers", ">1</data> integers", ">1</data> heads", "[token:", "?token"]
        {
            assert!(!html.contains(wrong), "{wrong}");
        }
    }
    Ok(())
}

/// Invariant: What one more token costs is said within the model's context, beyond which it cannot go on.
#[test]
fn no_cost_beyond_the_context() -> Result<()> {
    let (_, facts) = page("demo", &PromptEntry::text("Mary and John went. ".repeat(16)), Lang::En)?;
    let limit = facts.spec.n_ctx.unwrap() as u64;
    assert!(2 * facts.prompt.tokens.len() as u64 > limit, "the prompt is long enough to tell");
    assert!(facts.cost.iter().all(|row| row.tokens <= limit) && facts.cost.iter().any(|row| row.tokens == limit));
    Ok(())
}
