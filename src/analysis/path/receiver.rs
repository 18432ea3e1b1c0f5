//! What reads the stream: which receivers there are, how they are named, and when they read.

use std::fmt;

use crate::arch::Spec;
use crate::arch::spec::Arrangement;
use crate::error::{Error, Result, nearest};
use crate::hook::site::{Role, Writer};
use crate::hook::{HookPoint, Site};

/// What a receiver is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Reads {
    /// The queries of a head.
    Q,
    /// The keys of a key/value head.
    K,
    /// The values of a key/value head.
    V,
    /// An MLP.
    Mlp,
    /// The unembedding, with the norm before it.
    Logits,
}

const ALL: [(Reads, &str); 5] =
    [(Reads::Q, "q"), (Reads::K, "k"), (Reads::V, "v"), (Reads::Mlp, "mlp"), (Reads::Logits, "logits")];

impl Reads {
    /// What it is called.
    pub fn name(self) -> &'static str {
        ALL.iter().find(|(reads, _)| *reads == self).map_or("", |(_, name)| name)
    }
}

/// One receiver.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Receiver {
    /// What it is.
    pub reads: Reads,
    /// In which block; none for the logits.
    pub layer: Option<usize>,
    /// Which head; of keys and values, which key/value head.
    pub head: Option<usize>,
}

/// As it is asked for: `2.1.q`, `3.mlp`, `logits`.
impl fmt::Display for Receiver {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for part in [self.layer, self.head].into_iter().flatten() {
            write!(f, "{part}.")?;
        }
        f.write_str(self.reads.name())
    }
}

impl Receiver {
    /// The value that is another when it reads another stream: a head's queries, keys or values; what an MLP adds; for the
    /// logits, the last stream itself. Queries and keys are taken after their norm, where there is one: a norm over all heads
    /// together would carry what one head reads to the others.
    pub(super) fn point(&self, spec: &Spec) -> HookPoint {
        let layer = self.layer.unwrap_or(spec.n_layers() - 1);
        let has = |site: Site| site.exists(spec, Some(layer));
        let site = match self.reads {
            Reads::Q if has(Site::QNormed) => Site::QNormed,
            Reads::Q => Site::Q,
            Reads::K if has(Site::KNormed) => Site::KNormed,
            Reads::K => Site::K,
            Reads::V => Site::V,
            Reads::Mlp => Site::MlpOut,
            Reads::Logits => Site::ResidPost,
        };
        HookPoint::block(layer, site)
    }

    /// The last write that it reads, in the order that [`written`] counts in.
    pub(super) fn reads_at(&self, spec: &Spec) -> usize {
        match (self.reads, self.layer) {
            (Reads::Mlp, Some(layer)) => mlp_reads_at(spec, layer),
            (_, Some(layer)) => 2 * layer,
            (_, None) => 2 * spec.n_layers(),
        }
    }
}

/// When the MLP of block `layer` reads: after the attention of its block, or with it.
pub(super) fn mlp_reads_at(spec: &Spec, layer: usize) -> usize {
    match spec.blocks[layer].arrangement {
        Arrangement::Sequential => 2 * layer + 1,
        Arrangement::Parallel | Arrangement::ParallelSharedNorm => 2 * layer,
    }
}

/// When `point` is written to the stream: the embedding first, then of each block attention and MLP. Nothing where it is no part
/// of a write.
pub(super) fn written(point: HookPoint) -> Option<usize> {
    match (point.site.info().role, point.layer) {
        (Role::Write(Writer::Embedding), _) => Some(0),
        (Role::Write(Writer::Attention) | Role::Part(Writer::Attention), Some(layer)) => Some(2 * layer + 1),
        (Role::Write(Writer::Mlp) | Role::Part(Writer::Mlp), Some(layer)) => Some(2 * layer + 2),
        _ => None,
    }
}

/// Receivers, as they were asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Receivers {
    /// Each part of what was asked, and the receivers that it means.
    pub parts: Vec<(String, Vec<Receiver>)>,
}

impl Receivers {
    /// The receivers of this model that `text` means: parts with commas between, each `logits`, or `q`, `k`, `v` or `mlp` with a
    /// layer, and for the first three a head, before it: `2.1.q`, `3.mlp`. A layer or head is a number, a range such as `2-4`, or
    /// `*`; without a head all of the layer are meant, without a layer all of the model.
    ///
    /// ```
    /// # let (_, spec) = pellucid::arch::family::read_config(r#"{"model_type": "gpt2", "n_embd": 8, "n_head": 2,
    /// #   "n_layer": 3, "n_positions": 16, "vocab_size": 10}"#)?;
    /// use pellucid::analysis::path::Receivers;
    /// let names = |text| Receivers::parse(&spec, text).map(|r| r.all().map(|r| r.to_string()).collect::<Vec<_>>());
    /// assert_eq!(names("2.1.q,logits")?, ["2.1.q", "logits"]);
    /// assert_eq!(names("1-2.0.k")?, ["1.0.k", "2.0.k"]);
    /// assert_eq!(names("0.v")?, ["0.0.v", "0.1.v"]);
    /// assert_eq!(names("mlp")?, ["0.mlp", "1.mlp", "2.mlp"]);
    /// assert_eq!(names("2.2.q").unwrap_err().message(), "layer 2 has 2 heads for `q` (0-1), and 2 is not one");
    /// # Ok::<(), pellucid::Error>(())
    /// ```
    ///
    /// # Errors
    /// When a part means nothing in this model.
    pub fn parse(spec: &Spec, text: &str) -> Result<Self> {
        let (mut parts, mut seen): (Vec<(String, Vec<Receiver>)>, Vec<Receiver>) = (vec![], vec![]);
        for part in text.split(',').map(str::trim).filter(|part| !part.is_empty()) {
            let mut own = of_part(spec, part)?;
            // What is named twice is one receiver.
            own.retain(|receiver| !seen.contains(receiver));
            seen.extend_from_slice(&own);
            if !own.is_empty() {
                parts.push((part.to_owned(), own));
            }
        }
        match parts.is_empty() {
            true => Err(Error::bad_input("no receiver was named").hint("try logits, q, 2.1.q or 3.mlp")),
            false => Ok(Self { parts }),
        }
    }

    /// All of them, in the order in which they were asked for.
    pub fn all(&self) -> impl Iterator<Item = Receiver> + '_ {
        self.parts.iter().flat_map(|(_, receivers)| receivers.iter().copied())
    }

    /// What they are called where all read at once.
    pub(super) fn name(&self) -> String {
        self.parts.iter().map(|(part, _)| part.as_str()).collect::<Vec<_>>().join("+")
    }
}

fn of_part(spec: &Spec, part: &str) -> Result<Vec<Receiver>> {
    let (before, name) = part.rsplit_once('.').map_or((None, part), |(before, name)| (Some(before), name));
    let Some((reads, _)) = ALL.iter().find(|(_, known)| *known == name) else {
        let e = Error::no_such(format!("there is no receiver `{part}`"));
        return Err(match nearest(name, ALL.map(|(_, name)| name)) {
            Some(near) => e.hint(format!("did you mean `{}`?", part.replace(name, near))),
            None => e.hint("they are q, k and v of a head, such as 2.1.q, mlp of a layer, such as 3.mlp, and logits"),
        });
    };
    let fits = |what: &str| {
        Err(Error::bad_input(format!("`{part}` is not a receiver: `{name}` has no {what}"))
            .hint("write 2.1.q for a head, 3.mlp for an MLP, or logits"))
    };
    let (layers, heads) = match before.map(|before| before.split_once('.').unwrap_or((before, "*"))) {
        Some(_) if *reads == Reads::Logits => return fits("layer"),
        Some((_, heads)) if *reads == Reads::Mlp && heads != "*" => return fits("head"),
        Some((layers, heads)) => (layers, heads),
        None => ("*", "*"),
    };
    if *reads == Reads::Logits {
        return Ok(vec![Receiver { reads: *reads, layer: None, head: None }]);
    }
    let n_layers = spec.n_layers();
    let chosen = chosen(part, layers, n_layers)?.ok_or_else(|| {
        Error::no_such(format!("there are {n_layers} layers (0-{}), and {layers} is not one", n_layers - 1))
            .hint(format!("name layers from 0 to {}", n_layers - 1))
    })?;
    let mut receivers = vec![];
    for layer in chosen {
        let a = &spec.blocks[layer].attention.inner;
        let n_heads = match reads {
            Reads::Q => a.n_heads,
            Reads::K | Reads::V => a.n_kv_heads,
            _ => {
                if spec.blocks[layer].mlp.is_some() {
                    receivers.push(Receiver { reads: *reads, layer: Some(layer), head: None });
                }
                continue;
            }
        };
        let heads = self::chosen(part, heads, n_heads)?.ok_or_else(|| {
            Error::no_such(format!(
                "layer {layer} has {n_heads} heads for `{name}` (0-{}), and {heads} is not one",
                n_heads - 1
            ))
            .hint(format!("name heads from 0 to {}", n_heads - 1))
        })?;
        receivers.extend(heads.map(|head| Receiver { reads: *reads, layer: Some(layer), head: Some(head) }));
    }
    match receivers.is_empty() {
        true => Err(Error::no_such(format!("no layer that `{part}` names has an MLP")).hint("name q, k, v or logits")),
        false => Ok(receivers),
    }
}

/// The numbers below `n` that `3`, `2-4` or `*` means; nothing where one of them is not below `n`.
fn chosen(part: &str, text: &str, n: usize) -> Result<Option<std::ops::Range<usize>>> {
    let number = |text: &str| {
        text.parse::<usize>().map_err(|_| {
            Error::bad_input(format!("`{text}` in `{part}` is not a number")).hint("write 2.1.q, 2-4.q or 2.*.q")
        })
    };
    let (from, to) = match text.split_once('-') {
        _ if text == "*" => return Ok(Some(0..n)),
        Some((from, to)) => (number(from)?, number(to)?),
        None => (number(text)?, number(text)?),
    };
    if from > to {
        return Err(Error::bad_input(format!("`{text}` in `{part}` ends before it begins"))
            .hint(format!("write the smaller number first: {to}-{from}")));
    }
    Ok((to < n).then_some(from..to + 1))
}
