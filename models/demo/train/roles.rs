//! What heads are called: a name is a claim about both orders of the names, and about what the head does.

use super::names::{ByOrder, Found};
use super::statistics::Mean;

/// A head looks somewhere when its mean attention there is clearly above this, in both orders.
const LOOKS: f64 = 0.4;
/// An effect counts when it is clearly above this share of the model's logit difference, in both orders.
pub const COUNTS: f64 = 0.075;

/// What a head does about the two names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// It looks at the receiver, wherever that is, and speaks for the receiver; without it the answer is less sure (Wang et al.
    /// 2022).
    NameMover,
    /// It looks at the name that comes first (0) or second (1), whoever that is, and speaks for whoever it is: for the giver
    /// in one of the orders.
    Place(usize),
    /// It speaks for the receiver in both orders, and more by lowering the giver than by raising the receiver.
    AgainstTheGiver,
}

impl Role {
    /// What it is called.
    pub fn word(self) -> &'static str {
        match self {
            Self::NameMover => "name mover",
            Self::Place(0) => "first name",
            Self::Place(_) => "second name",
            Self::AgainstTheGiver => "against the giver",
        }
    }
}

/// The role of a head or MLP in a model of this logit difference; none, where no word fits.
pub fn role(found: &Found, whole: &ByOrder<Mean>) -> Option<Role> {
    // Of both orders together: a strong head of a fixed place makes one of them large and the other less than nothing.
    let least = COUNTS * (whole[0].mean + whole[1].mean).abs() / 2.0;
    let helps = |effect: &ByOrder<Mean>, order: usize| effect[order].is_clearly_above(least);
    let hurts = |effect: &ByOrder<Mean>, order: usize| effect[order].is_clearly_below(-least);
    let in_both = |is: &dyn Fn(usize) -> bool| is(0) && is(1);
    let looks_at = |order: usize, place: usize| {
        found.looks.as_ref().is_some_and(|looks| looks[order][place].is_clearly_above(LOOKS))
    };
    let decides = in_both(&|order| helps(&found.direct, order) && found.lost.iter().all(|lost| helps(lost, order)));
    // In order 0 the receiver is at place 0, in order 1 at place 1.
    if decides && in_both(&|order| looks_at(order, order)) {
        return Some(Role::NameMover);
    }
    let of_place = |place: usize| {
        in_both(&|order| {
            let right = order == place;
            let effects = [&found.direct, &found.lost[0], &found.lost[1]];
            looks_at(order, place)
                && effects.iter().all(|effect| if right { helps(effect, order) } else { hurts(effect, order) })
        })
    };
    if let Some(place) = [0, 1].into_iter().find(|place| of_place(*place)) {
        return Some(Role::Place(place));
    }
    let lowers = |order: usize| -found.giver[order].mean > found.receiver[order].mean.abs();
    (decides && in_both(&lowers)).then_some(Role::AgainstTheGiver)
}
