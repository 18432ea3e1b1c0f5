//! Coordinates that were trained, not labelled.

use super::figure;
use super::write::{At, Writer, escape, token};
use crate::analysis::EmbedNeighborRow;
use crate::analysis::explain::claims;

/// The neighbours of one token in one space, with their rows.
type Near<'a> = Vec<(usize, &'a EmbedNeighborRow)>;

/// Neighbours in the space `space`, token by token.
fn in_space<'a>(w: &Writer<'a>, space: &str) -> Vec<Near<'a>> {
    let mut all: Vec<Near<'a>> = vec![];
    for (i, row) in w.facts.neighbors.iter().enumerate().filter(|(_, row)| row.space == space) {
        match all.last_mut() {
            Some(own)
                if own[0].1.token_id == row.token_id && own[0].1.layer == row.layer && own[0].1.among == row.among =>
            {
                own.push((i, row));
            }
            _ => all.push(vec![(i, row)]),
        }
    }
    all
}

/// What a number becomes.
pub fn embed(w: &mut Writer<'_>) {
    w.section("embed");
    w.p("embed.a", &[("v", w.count("vocabulary")), ("d", w.count("d_model"))]);
    let embed = in_space(w, "embed");
    let at = |i: usize, column| At::of("embed_neighbors", i, column);
    // The token whose first neighbour stands out most: of one that is another word, where there is one.
    let nearest = embed.iter().filter_map(|own| own.first().copied());
    let nearest = nearest.max_by(|a, b| {
        (!a.1.same_word, a.1.cosine).partial_cmp(&(!b.1.same_word, b.1.cosine)).unwrap_or(std::cmp::Ordering::Equal)
    });
    if let Some((i, row)) = nearest {
        let key = claims::nearest(row);
        let put = [
            ("token", token(&row.token)),
            ("near", token(&row.neighbor)),
            ("cos", at(i, "cosine").number(row.cosine)),
            ("pct", at(i, "percentile").number(row.percentile)),
        ];
        w.answers("3", key, &put);
    }
    w.p("embed.means", &[]);
    figure::begin(w);
    let rows: Vec<Vec<String>> = (embed.iter().flat_map(|own| own.iter().take(3)))
        .map(|(i, row)| {
            vec![
                token(&row.token),
                token(&row.neighbor),
                figure::bar(row.cosine, "one"),
                at(*i, "cosine").number(row.cosine),
                at(*i, "cosine_centered").number(row.cosine_centered),
                at(*i, "percentile").number(row.percentile),
            ]
        })
        .collect();
    let columns = ["col.token", "col.neighbor", "col.bar", "col.cosine", "col.centered", "col.percentile"];
    figure::table(w, &escape(w.plain("embed.figure")), &columns.map(|key| w.plain(key).to_owned()), &rows);
    let caption = w.say("embed.caption", &[]);
    figure::end(w, &caption);
    // The last token, before the first block and after the last.
    let streams = in_space(w, "stream");
    let among = if w.facts.spec.unembedding.tied { "embed" } else { "unembed" };
    let ends = |last: bool| {
        let own = streams.iter().filter_map(|own| own.first().copied()).filter(|(_, row)| {
            if last { row.layer != Some(0) && row.among == among } else { row.layer == Some(0) && row.among == "embed" }
        });
        own.reduce(|_, last| last)
    };
    if let (Some((i, before)), Some((j, after))) = (ends(false), ends(true)) {
        let key = if before.neighbor_id == after.neighbor_id { "embed.stays" } else { "embed.moves" };
        let put = [
            ("token", token(&before.token)),
            ("before", token(&before.neighbor)),
            ("cb", at(i, "cosine").number(before.cosine)),
            ("after", token(&after.neighbor)),
            ("ca", at(j, "cosine").number(after.cosine)),
        ];
        w.p(key, &put);
    }
    let closer = nearest.map_or_else(String::new, |(i, row)| {
        let put = [
            ("token", token(&row.token)),
            ("near", token(&row.neighbor)),
            ("cos", at(i, "cosine").number(row.cosine)),
            ("centered", at(i, "cosine_centered").number(row.cosine_centered)),
        ];
        let tied = if w.facts.spec.unembedding.tied { "embed.tied" } else { "embed.untied" };
        format!("<p>{}</p><p>{}</p>", w.say("embed.closer", &put), w.plain(tied))
    });
    let command = w.facts.command("embed").to_vec();
    w.close("embed", &closer, &command);
}
