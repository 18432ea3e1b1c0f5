//! The tables of embeddings.

use crate::table;
use crate::table::TOKEN;

table! {
    /// A neighbour of a token.
    EmbedNeighborRow = "embed_neighbors" version 1 keyed by token_id, space, layer, pos, among, rank:
    "Which tokens' vectors point in nearly the same direction as that of a token. One row is one neighbour in one space: `embed` is among the \
     rows of the embedding W_E, without the token itself; `unembed` among the columns of the unembedding W_U, and is left out where both are \
     one matrix; `stream` is what the token has become in a prompt, before the first block and after the last, among the rows of both. \
     Products and lengths are sums in f64 of the weights as they are stored: a factor on the embedding changes no cosine, and the final norm's \
     gain is not applied.";
    token: String, TOKEN, "the token whose neighbours they are";
    token_id: u32, "vocabulary id", "its id";
    space: String, "", "`embed`, `unembed` or `stream`";
    layer: Option<u32>, "blocks", "of a stream: how many blocks it has gone through, 0 or all; null in the other spaces";
    pos: Option<u32>, "index", "of a stream: the token's position in the prompt, counted from 0; null in the other spaces";
    among: String, "", "whose rows the neighbours are: `embed` or `unembed`";
    rank: u32, "rank", "the neighbour's place by cosine, 1 = nearest; of equals the lower id comes first";
    neighbor: String, TOKEN, "the neighbour";
    neighbor_id: u32, "vocabulary id", "its id";
    cosine: f64, "cosine", "cosine of the two vectors; 0 where one is 0";
    cosine_centered: f64, "cosine", "the same with the mean row of the matrix taken away from both: what all tokens have in common is no \
        likeness. A stream before the first block is a row of the embedding times its factor, with or without a position, and the mean row is taken \
        from it too; after the last block, and where the embedding has a norm, from the neighbour alone";
    percentile: f64, "percent", "of 10,000 random pairs of different tokens of the matrix, drawn by the seed, how many have a smaller cosine; of a stream, of \
        itself with 10,000 random tokens";
    same_word: bool, "", "whether it is the token's own text but for white space and case, as most first neighbours are";
}

table! {
    /// A token's vectors, and whether they look trained.
    EmbedNormRow = "embed_norms" version 1 keyed by token_id:
    "How long each token's vectors are, and how near to those of tokens that were never trained. One row is one token. The four `unused_` columns are the \
     indicators of Land & Bartolo 2024 (\\\"Fishing for Magikarp\\\", EMNLP): u is the token's column of the unembedding, and v the mean of the columns \
     of tokens that are known to be unused; small values say that the token was hardly trained. Known to be unused are rows without an \
     entry in the tokenizer, and tokens of one byte that no UTF-8 text has (C0, C1, F5 to FF). Where there are none, the four are null.";
    token_id: u32, "vocabulary id", "the token's id";
    token: String, TOKEN, "the token";
    norm_in: Option<f64>, "", "length of its row of the embedding, as stored: without the factor that some models put on it";
    norm_out: Option<f64>, "", "length of its column of the unembedding; null where the model cannot say it";
    cos_to_mean: Option<f64>, "cosine", "cosine of its row of the embedding and the mean row";
    known_unused: bool, "", "whether it is one of those that are known to be unused";
    unused_l2: Option<f64>, "", "length of u - v";
    unused_cos: Option<f64>, "1 - cosine", "1 less the cosine of u and v";
    unused_cos_no_mean: Option<f64>, "1 - cosine", "the same with the mean column taken away from both";
    unused_cos_no_component: Option<f64>, "1 - cosine", "the same with the first principal component projected out of both instead";
}

table! {
    /// A candidate of an analogy.
    EmbedAnalogyRow = "embed_analogy" version 1 keyed by space, a_id, b_id, c_id, token_id:
    "What is to c as b is to a, by 3CosAdd (Mikolov et al. 2013; Levy & Goldberg 2014): the token x with the largest cos(x, b) - cos(x, a) + cos(x, c). \
     One row is one candidate in one space; a, b and c themselves are excluded from `rank`, as is usual, and have rows without one.";
    space: String, "", "`embed`: among the rows of the embedding; `unembed`: among the columns of the unembedding, left out where both are one matrix";
    a: String, TOKEN, "the first token of the analogy";
    a_id: u32, "vocabulary id", "its id";
    b: String, TOKEN, "the second: what a is to b ...";
    b_id: u32, "vocabulary id", "its id";
    c: String, TOKEN, "the third: ... c is to the answer";
    c_id: u32, "vocabulary id", "its id";
    rank: Option<u32>, "rank", "the candidate's place without a, b and c, 1 = best; null for these";
    token: String, TOKEN, "the candidate";
    token_id: u32, "vocabulary id", "its id";
    score: f64, "", "3CosAdd: cos(x, b) - cos(x, a) + cos(x, c)";
    rank_with_inputs: u32, "rank", "its place with nothing excluded: mostly b or c is first, and the analogy is no more than that they are near";
    offset_cos: f64, "cosine", "cosine of the two differences, b - a and x - c: whether they are one direction";
}

table! {
    /// A token on a map.
    EmbedMapRow = "embed_map" version 1 keyed by token_id:
    "Tokens on the plane in which their rows of the embedding differ most: the first two principal components of these rows, less their mean. One row is \
     one token, those that matter most first. Signs are fixed: the largest number of each component is positive. Two components hold what \
     `explained_x` and `explained_y` say, and what is near on the plane may be far apart.";
    token_id: u32, "vocabulary id", "the token's id";
    token: String, TOKEN, "the token";
    class: Option<String>, "", "the class that it was given as; null where none was";
    asked: bool, "", "whether it is one of the words of the request";
    x: f64, "", "its place along the first component, in the units of the embedding as stored";
    y: f64, "", "its place along the second";
    explained_x: f64, "share", "how much of the sum of squares of all these rows, less their mean, lies along the first component";
    explained_y: f64, "share", "how much along the second";
    same_class_of_10: Option<f64>, "share", "of its 10 nearest neighbours by cosine among the tokens of a class, how many are of its own; null without classes";
}
