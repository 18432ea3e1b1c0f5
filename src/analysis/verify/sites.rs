//! Which tensors of a dump are which of our sites. Modules are found by the names under which the family's files keep their
//! weights, so nothing here knows a family.

use candle_core::Tensor;

use super::dump::Dump;
use crate::arch::Spec;
use crate::arch::family::Family;
use crate::arch::spec::{AddedTo, Arrangement, FeedForward};
use crate::arch::weights::{BlockSlot, Cut, Map, Part, Slot};
use crate::error::Result;
use crate::hook::{HookPoint, Site};

/// A value of the dump that is one of our sites.
pub(super) struct Known {
    pub point: HookPoint,
    /// What the dump calls it.
    pub name: String,
    /// In f64, `[t, ..]`; patterns `[b, h, q, k]`.
    pub value: Tensor,
}

/// Everything that the dump has of our sites, in the order of the forward pass.
pub(super) fn known(dump: &Dump, family: &Family, spec: &Spec) -> Result<Vec<Known>> {
    let mut find = Find { dump, family, spec, known: vec![] };
    find.embedding()?;
    for layer in 0..spec.n_layers() {
        find.block(layer)?;
    }
    find.end()?;
    let order = HookPoint::all(spec);
    let mut known = find.known;
    known.retain(|k| order.contains(&k.point));
    known.sort_by_key(|k| order.iter().position(|p| *p == k.point));
    Ok(known)
}

struct Find<'a> {
    dump: &'a Dump,
    family: &'a Family,
    spec: &'a Spec,
    known: Vec<Known>,
}

/// What a module reads, or what it gives.
type End = &'static str;

impl Find<'_> {
    fn push(&mut self, point: HookPoint, found: Option<(String, Tensor)>) {
        if let Some((name, value)) = found {
            self.known.push(Known { point, name, value });
        }
    }

    /// A tensor by its name.
    fn named(&self, name: String) -> Result<Option<(String, Tensor)>> {
        let Some(x) = self.dump.get(&name) else { return Ok(None) };
        let rows = self.dump.rows(&name, x)?;
        Ok(Some((name, rows)))
    }

    /// The name and value of one side of the module whose weight is `slot`, and the cut of its outputs.
    fn module(&self, slot: Slot, end: End) -> Option<(String, &Tensor, Cut)> {
        let source = (self.family.source)(self.spec, slot)?;
        let stem = source.name.strip_suffix(".weight")?;
        let prefixes = self.family.prefixes.iter().copied().chain([""]);
        let mut names: Vec<String> = prefixes.map(|prefix| format!("module.{prefix}{stem}.{end}")).collect();
        if let Slot::Block(_, BlockSlot::Router) = slot {
            // What transformers calls every router, whatever the files do.
            let renamed: Vec<String> = names
                .iter()
                .filter_map(|n| Some(format!("{}mlp.gate.{end}", &n[..n.find("block_sparse_moe")?])))
                .collect();
            names.extend(renamed);
        }
        let name = names.into_iter().find(|name| self.dump.get(name).is_some())?;
        let value = self.dump.get(&name)?;
        Some((name, value, source.cut))
    }

    /// What a module reads or gives, as rows; of what it gives, the part that is the slot's.
    fn side(&self, slot: Slot, end: End) -> Result<Option<(String, Tensor)>> {
        let Some((name, x, cut)) = self.module(slot, end) else { return Ok(None) };
        let rows = self.dump.rows(&name, x)?;
        let (t, width) = rows.dims2()?;
        Ok(Some(match cut {
            Cut::OfEach { groups, start, len, total } if end == "out" && width == groups * total => {
                (name, rows.reshape((t, groups, total))?.narrow(2, start, len)?.flatten_from(1)?)
            }
            _ => (name, rows),
        }))
    }

    fn embedding(&mut self) -> Result<()> {
        // Some modules scale what they give and others leave it to the model.
        if self.spec.embedding.scale.is_none() {
            let embed = self.side(Slot::Embed, "out")?;
            self.push(HookPoint::global(Site::Embed), embed);
        }
        if self.spec.embedding.positions.is_some_and(|p| p.added_to == AddedTo::Stream)
            && let Some((name, x, _)) = self.module(Slot::Positions, "out")
        {
            // The same for every prompt, and so often given once.
            let [b, p] = self.dump.shape();
            let d = self.spec.d_model;
            let x = if x.elem_count() == p * d { x.reshape((1, p, d))?.broadcast_as((b, p, d))? } else { x.clone() };
            let rows = self.dump.rows(&name, &x)?;
            self.push(HookPoint::global(Site::PosEmbed), Some((name, rows)));
        }
        Ok(())
    }

    fn block(&mut self, layer: usize) -> Result<()> {
        let spec = self.spec;
        let block = &spec.blocks[layer];
        let (a, at) = (&block.attention.inner, |site| HookPoint::block(layer, site));
        let weight = |slot: fn(Part) -> BlockSlot| Slot::Block(layer, slot(Part::Weight));
        let resid_pre = self.named(format!("hidden_states.{layer}"))?;
        self.push(at(Site::ResidPre), resid_pre);
        if block.attention.pre_norm.is_some() {
            let read = self.side(weight(BlockSlot::Ln1), "out")?;
            self.push(at(Site::Ln1Out), read);
        }
        for (site, map) in
            [(Site::Q, BlockSlot::Q as fn(Part) -> BlockSlot), (Site::K, BlockSlot::K), (Site::V, BlockSlot::V)]
        {
            let projected = self.side(weight(map), "out")?;
            self.push(at(site), projected);
        }
        if a.qk_norm.is_some() {
            let normed = self.heads(weight(BlockSlot::QNorm), a.n_heads)?;
            self.push(at(Site::QNormed), normed);
            let normed = self.heads(weight(BlockSlot::KNorm), a.n_kv_heads)?;
            self.push(at(Site::KNormed), normed);
        }
        let name = format!("attentions.{layer}");
        if let Some(x) = self.dump.get(&name) {
            let [b, p] = self.dump.shape();
            let rows = self.dump.rows(&name, x)?;
            // Another number of heads is left to be seen as another size.
            let pattern = match x.dims() == [b, a.n_heads, p, p] {
                true => rows.reshape((b, a.n_heads, p, p))?,
                false => rows,
            };
            self.push(at(Site::Pattern), Some((name, pattern)));
        }
        let z = self.side(weight(BlockSlot::O), "in")?;
        self.push(at(Site::Z), z);
        let writer = if block.attention.post_norm.is_some() { BlockSlot::Ln1Post } else { BlockSlot::O };
        let attn_out = self.side(weight(writer), "out")?;
        self.push(at(Site::AttnOut), scaled(attn_out, block.residual_scale)?);

        let Some(mlp) = &block.mlp else { return Ok(()) };
        if mlp.pre_norm.is_some() {
            if block.arrangement == Arrangement::Sequential {
                let resid_mid = self.side(weight(BlockSlot::Ln2), "in")?;
                self.push(at(Site::ResidMid), resid_mid);
            }
            let read = self.side(weight(BlockSlot::Ln2), "out")?;
            self.push(at(Site::Ln2Out), read);
        }
        match &mlp.inner {
            FeedForward::Dense(neurons) => {
                let slot = |map| Slot::Block(layer, BlockSlot::neurons(None, map, Part::Weight));
                let mut maps = vec![(Site::MlpPre, Map::In, "out"), (Site::MlpPost, Map::Out, "in")];
                if neurons.gated {
                    maps.push((Site::MlpPreLinear, Map::Linear, "out"));
                }
                for (site, map, end) in maps {
                    let found = self.side(slot(map), end)?;
                    self.push(at(site), found);
                }
                if mlp.post_norm.is_none() {
                    let mlp_out = self.side(slot(Map::Out), "out")?;
                    self.push(at(Site::MlpOut), scaled(mlp_out, block.residual_scale)?);
                }
            }
            FeedForward::Experts(_) => {
                let logits = self.side(Slot::Block(layer, BlockSlot::Router), "out")?;
                self.push(at(Site::RouterLogits), logits);
            }
        }
        if mlp.post_norm.is_some() {
            let mlp_out = self.side(weight(BlockSlot::Ln2Post), "out")?;
            self.push(at(Site::MlpOut), scaled(mlp_out, block.residual_scale)?);
        }
        Ok(())
    }

    /// What a norm on queries or keys gives, which lies `[b, p, heads, e]` or `[b, heads, p, e]`; where these cannot be told
    /// apart, nothing.
    fn heads(&self, slot: Slot, heads: usize) -> Result<Option<(String, Tensor)>> {
        let Some((name, x, _)) = self.module(slot, "out") else { return Ok(None) };
        let [b, p] = self.dump.shape();
        let turned = match *x.dims() {
            [_, first, second, _] if first == heads && second == heads && heads == p => return Ok(None),
            [batch, first, second, _] if batch == b && first == heads && second == p => {
                x.transpose(1, 2)?.contiguous()?
            }
            _ => x.clone(),
        };
        let rows = self.dump.rows(&name, &turned)?;
        Ok(Some((name, rows)))
    }

    fn end(&mut self) -> Result<()> {
        let last = match self.named(format!("hidden_states.{}", self.spec.n_layers()))? {
            Some(last) => Some(last),
            None => self.side(Slot::FinalNorm(Part::Weight), "out")?,
        };
        self.push(HookPoint::global(Site::FinalOut), last);
        let logits = self.named("logits".into())?;
        self.push(HookPoint::global(Site::Logits), logits);
        Ok(())
    }
}

fn scaled(found: Option<(String, Tensor)>, factor: Option<f64>) -> Result<Option<(String, Tensor)>> {
    Ok(match (found, factor) {
        (Some((name, x)), Some(factor)) => Some((name, (x * factor)?)),
        (found, _) => found,
    })
}
