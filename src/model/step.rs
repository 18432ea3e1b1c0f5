//! The forward pass one block at a time, for packs that change between blocks: in a sweep, runs join where they first differ.

use candle_core::Tensor;

use super::Model;
use super::batch::Batch;
use super::run::{Asking, Pack, Unembed};
use crate::arch::spec::{AddedTo, Rotary};
use crate::error::Result;
use crate::hook::{Hook, Site, Tap};
use crate::ops::Path;
use crate::ops::rotary::Table;
use crate::ops::rows::Rows;

/// What begins at the embedding.
pub(crate) struct Begun {
    /// The stream `[t, d]` before the first block.
    pub resid: Tensor,
    /// Position vectors `[t, d]` that queries and keys read beside the stream, where the model has such.
    pub positions: Option<Tensor>,
}

/// The angles of positions `0..n`, for every distinct rotation in the model: rows of a pack take theirs from here.
pub(crate) struct Angles(Vec<(Rotary, Table)>);

impl Model {
    /// The angles of the first `n` positions.
    ///
    /// # Errors
    /// When the computation fails.
    pub(crate) fn angles(&self, n: usize) -> Result<Angles> {
        Ok(Angles(self.rotary_tables(&Rows::pack([(0, n)]))?))
    }

    /// The embedding alone.
    ///
    /// # Errors
    /// As [`Model::run`].
    pub(crate) fn begin(&self, batch: &Batch, hooks: &mut [&mut dyn Hook]) -> Result<Begun> {
        let rows = batch.rows();
        let pack = Pack { path: self.path(), batch, rotary: vec![], positions: None, asking: None };
        let mut tap = Tap::new(hooks, rows.clone());
        let resid = self.embed(&pack, &mut tap)?;
        let positions = match self.positions(&rows, AddedTo::QueriesAndKeys)? {
            Some(p) => Some(tap.at(Site::PosEmbed, p)?),
            None => None,
        };
        Ok(Begun { resid, positions })
    }

    /// Block `layer` alone: `resid_pre [t, d]` to `resid_post`, of the rows in `asking` where some are given. These are a
    /// layout of the same sequences with fewer rows, and which rows of the pack they are.
    ///
    /// # Errors
    /// As [`Model::run`].
    pub(crate) fn step(
        &self,
        layer: usize,
        batch: &Batch,
        angles: &Angles,
        begun: Begun,
        asking: Option<(Rows, Vec<u32>)>,
        hooks: &mut [&mut dyn Hook],
    ) -> Result<Tensor> {
        let rows = batch.rows();
        let at: Vec<u32> = rows.positions().map(|p| p as u32).collect();
        let at = Tensor::new(at, &self.device)?;
        let rotary = (angles.0.iter())
            .map(|(rotary, table)| {
                let table = Table { cos: table.cos.index_select(&at, 0)?, sin: table.sin.index_select(&at, 0)? };
                Ok((rotary.clone(), table))
            })
            .collect::<Result<_>>()?;
        let asking = asking
            .map(|(rows, indices)| Ok::<_, crate::Error>(Asking { rows, indices: Tensor::new(indices, &self.device)? }))
            .transpose()?;
        let pack = Pack { path: self.path(), batch, rotary, positions: begun.positions, asking };
        let mut tap = Tap::new(hooks, rows);
        tap.enter(Some(layer));
        Ok(self.block(layer, &pack, &mut tap, begun.resid)?.0)
    }

    /// Logits of streams `[t, d]` after the last block: of all tokens, or of these alone.
    ///
    /// # Errors
    /// As [`Model::run`].
    pub(crate) fn end(&self, resid: &Tensor, tokens: Option<&[u32]>) -> Result<Option<Tensor>> {
        let rows: Vec<u32> = (0..resid.dim(0)? as u32).collect();
        let what = match tokens {
            Some(tokens) => Unembed::Tokens(rows, tokens.to_vec()),
            None => Unembed::All,
        };
        self.unembed(self.path(), &mut Tap::new(&mut [], Rows::pack([])), resid, &what)
    }

    pub(crate) fn path(&self) -> Path {
        Path::best(&self.device, self.dtype)
    }
}
