//! The model that was loaded last, for another command of the same process that asks for it in the same way.

use std::any::Any;
use std::cell::RefCell;
use std::rc::Rc;

use crate::error::Result;

/// What was loaded, and as what: one at a time, so that two models are never in memory because of this.
#[derive(Default)]
pub(super) struct Kept(RefCell<Option<(Named, Rc<dyn Any>)>>);

/// The arguments that name a model: options, and what comes after them.
type Named = [Vec<String>; 2];

impl Kept {
    /// What these arguments name, which `load` loads where it is not the one that is kept.
    ///
    /// # Errors
    /// What `load` says.
    pub fn get<T: 'static>(&self, named: Named, load: impl FnOnce() -> Result<T>) -> Result<Rc<T>> {
        let there = self.0.borrow().as_ref().filter(|(name, _)| *name == named).map(|(_, on)| on.clone());
        if let Some(Ok(on)) = there.map(Rc::downcast::<T>) {
            return Ok(on);
        }
        // Before the next one is loaded.
        self.0.take();
        let on = Rc::new(load()?);
        self.0.replace(Some((named, on.clone())));
        Ok(on)
    }
}
