//! The trait that sees and changes values, and the one expression by which the forward pass offers them.

use candle_core::{DType, Tensor};

use super::point::HookPoint;
use super::site::Site;
use crate::error::{Error, Result};
use crate::ops::rows::Rows;

/// Something that sees values as the forward pass makes them, and may put others in their place.
pub trait Hook {
    /// Asked before a value is made: what nobody wants is not computed.
    fn wants(&self, at: HookPoint) -> bool;

    /// Sees the value and returns it, or another of the same shape and dtype. `rows` says which rows of `x` belong
    /// to which sequence; a value made per sequence (scores, patterns) comes once for each, with that one alone. Where a
    /// value is made for some rows only (an expert's), `rows` says for which, and the others must stay zero.
    ///
    /// # Errors
    /// Whatever goes wrong; the run stops with it.
    fn on(&mut self, at: HookPoint, rows: &Rows, x: Tensor) -> Result<Tensor>;

    /// Asked for each sequence of a value that is made per sequence (scores, patterns). Where nobody wants them, the
    /// values are mixed in one pass that never stores them.
    fn wants_of(&self, at: HookPoint, sequence: usize) -> bool {
        let _ = sequence;
        self.wants(at)
    }

    /// Called when a run is over, so that a hook that was never reached can say so.
    ///
    /// # Errors
    /// When the hook did not do what it was made for.
    fn finish(&mut self) -> Result<()> {
        Ok(())
    }
}

/// Hands values to hooks, in order: a later hook sees what an earlier one changed.
pub struct Tap<'a, 'h> {
    hooks: &'a mut [&'h mut dyn Hook],
    rows: Rows,
    layer: Option<usize>,
}

impl<'a, 'h> Tap<'a, 'h> {
    /// A tap for a pack.
    pub fn new(hooks: &'a mut [&'h mut dyn Hook], rows: Rows) -> Self {
        Self { hooks, rows, layer: None }
    }

    /// The pack's layout.
    pub fn rows(&self) -> &Rows {
        &self.rows
    }

    /// Says how the rows of the following values are packed.
    pub fn lay_out(&mut self, rows: Rows) {
        self.rows = rows;
    }

    /// Says which block the following values belong to.
    pub fn enter(&mut self, layer: Option<usize>) {
        self.layer = layer;
    }

    /// Whether some hook wants this site's value here.
    pub fn wants(&self, site: Site) -> bool {
        self.any_wants(self.point(site, None))
    }

    /// Whether some hook wants this site's value of the sequence with this index.
    pub fn wants_of(&self, site: Site, sequence: usize) -> bool {
        let at = self.point(site, None);
        self.hooks.iter().any(|h| h.wants(at) && h.wants_of(at, sequence))
    }

    /// Whether some hook wants this site's value of this expert here.
    pub fn wants_expert(&self, site: Site, expert: usize) -> bool {
        self.any_wants(self.point(site, Some(expert)))
    }

    fn point(&self, site: Site, expert: Option<usize>) -> HookPoint {
        HookPoint { layer: self.layer, expert, site }
    }

    fn any_wants(&self, at: HookPoint) -> bool {
        self.hooks.iter().any(|h| h.wants(at))
    }

    /// Offers the value of `site` to every hook that wants it and gives back what they leave.
    ///
    /// # Errors
    /// A hook's own error, or when a hook gives back another shape or dtype.
    pub fn at(&mut self, site: Site, x: Tensor) -> Result<Tensor> {
        offer(self.hooks, self.point(site, None), &self.rows, x)
    }

    /// The same for a value that is made for sequence number `sequence` alone.
    ///
    /// # Errors
    /// As [`Tap::at`].
    pub fn at_sequence(&mut self, site: Site, sequence: usize, x: Tensor) -> Result<Tensor> {
        let index = self.rows.sequences[sequence].index;
        if !self.wants_of(site, index) {
            return Ok(x);
        }
        let at = self.point(site, None);
        offer(self.hooks, at, &self.rows.only(sequence), x)
    }

    /// The same for a value of expert `expert`, `x [t, ..]`, which is zero in all rows but those of `made`.
    ///
    /// # Errors
    /// As [`Tap::at`], and when a hook writes to another row: nobody would read it.
    pub fn at_expert(&mut self, site: Site, expert: usize, made: &[u32], x: Tensor) -> Result<Tensor> {
        let at = self.point(site, Some(expert));
        offer(self.hooks, at, &self.rows.made_for(made), x)
    }

    /// Tells every hook that the run is over.
    ///
    /// # Errors
    /// The first hook that has something to say against it.
    pub fn finish(self) -> Result<()> {
        self.hooks.iter_mut().try_for_each(|h| h.finish())
    }
}

fn offer(hooks: &mut [&mut dyn Hook], at: HookPoint, rows: &Rows, mut x: Tensor) -> Result<Tensor> {
    let of = rows.sequences.first().map_or(0, |s| s.index);
    let one = at.site.per_sequence();
    for hook in hooks.iter_mut().filter(|h| h.wants(at) && (!one || h.wants_of(at, of))) {
        let (shape, dtype, id) = (x.shape().clone(), x.dtype(), x.id());
        let y = hook.on(at, rows, x)?;
        if y.shape() != &shape || y.dtype() != dtype {
            return Err(Error::compute(format!(
                "a hook at {at} was given {dtype:?} {shape:?} and gave back {:?} {:?}",
                y.dtype(),
                y.shape()
            ))
            .hint("a hook gives back a value of the shape and dtype that it was given"));
        }
        if let Some(made) = &rows.made
            && y.id() != id
        {
            unread_stay_zero(at, made, &y)?;
        }
        // Kernels read contiguous rows, whatever a hook made.
        x = y.contiguous()?;
    }
    Ok(x)
}

fn unread_stay_zero(at: HookPoint, made: &[bool], y: &Tensor) -> Result<()> {
    let unread: Vec<u32> = (0..made.len() as u32).filter(|row| !made[*row as usize]).collect();
    if unread.is_empty() {
        return Ok(());
    }
    let unread = y.detach().contiguous()?.index_select(&Tensor::new(unread, y.device())?, 0)?;
    if unread.ne(0.0)?.to_dtype(DType::U32)?.sum_all()?.to_scalar::<u32>()? == 0 {
        return Ok(());
    }
    Err(Error::bad_input(format!(
        "a hook at {at} wrote to rows that do not go through this expert, where nobody reads"
    ))
    .hint("change only the rows that are made: `rows.made` says which"))
}
