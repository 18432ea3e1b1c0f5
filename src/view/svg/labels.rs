//! Where words stand beside dots, so that they touch neither each other nor a dot.
//!
//! Point-feature label placement with eight places for each label (Christensen, Marks & Shieber 1995, "An empirical study of algorithms for
//! point-feature label placement"): labels that matter more come first, each takes the free place that leaves most places to
//! those after it, and one that finds none tries whether a single label in its way can go elsewhere. Nothing is drawn by chance, so
//! that a figure is the same bytes.

use super::canvas::Rect;

/// Space between a dot and its label, and around labels.
const GAP: f64 = 2.5;
/// Side of a cell of the grids in which neighbours are looked for.
const CELL: f64 = 32.0;

/// A label that wants a place.
#[derive(Clone, Copy, Debug)]
pub(super) struct Label {
    /// Beside which dot.
    pub dot: usize,
    /// Width and height.
    pub size: (f64, f64),
    /// Whether it may stand away from its dot, with a line to it, where there is no room beside it.
    pub far: bool,
}

/// A place of a label: its rectangle, whether words begin at its left edge, end at its right one, or are in the middle, and whether it
/// stands away from its dot.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Place {
    pub area: Rect,
    pub side: Side,
    pub far: bool,
}

impl Place {
    /// The line from its dot to the nearest point of its edge, where it stands away.
    pub fn line(&self, dot: (f64, f64)) -> [(f64, f64); 2] {
        let Rect { x, y, w, h } = self.area;
        [dot, (dot.0.clamp(x, x + w), dot.1.clamp(y, y + h))]
    }
}

/// The rectangle that a line lies in.
fn around_line([from, to]: &[(f64, f64); 2]) -> Rect {
    Rect { x: from.0.min(to.0), y: from.1.min(to.1), w: (from.0 - to.0).abs(), h: (from.1 - to.1).abs() }
}

/// Whether a line goes through a rectangle: what of it is inside the sides one after the other (Liang & Barsky 1984).
fn crosses(r: &Rect, [from, to]: &[(f64, f64); 2]) -> bool {
    let (dx, dy) = (to.0 - from.0, to.1 - from.1);
    let (mut first, mut last) = (0.0, 1.0);
    for (along, least, most) in [(dx, r.x - from.0, r.x + r.w - from.0), (dy, r.y - from.1, r.y + r.h - from.1)] {
        if along == 0.0 {
            if least > 0.0 || most < 0.0 {
                return false;
            }
            continue;
        }
        let (a, b) = (least / along, most / along);
        first = f64::max(first, a.min(b));
        last = f64::min(last, a.max(b));
    }
    first <= last
}

/// Where a label stands beside its dot.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Side {
    Right,
    Left,
    Middle,
}

/// Places around a dot, the best first: on which side, and how far up or down in heights of the label.
const AROUND: [(Side, f64); 8] = [
    (Side::Right, 0.0),
    (Side::Left, 0.0),
    (Side::Right, -0.5),
    (Side::Right, 0.5),
    (Side::Left, -0.5),
    (Side::Left, 0.5),
    (Side::Middle, -1.0),
    (Side::Middle, 1.0),
];

/// How far away a label may stand, and in so many directions.
const FAR: [f64; 6] = [14.0, 24.0, 38.0, 56.0, 80.0, 120.0];
const DIRECTIONS: usize = 16;

/// What labels are placed among.
pub(super) struct Field<'a> {
    /// The dots, which no label may touch.
    pub dots: &'a [(f64, f64)],
    /// How large a dot is.
    pub radius: f64,
    /// Where labels must be.
    pub inside: Rect,
    /// Whether something else is in the way of a rectangle.
    pub taken: &'a dyn Fn(&Rect) -> bool,
}

/// Whether two rectangles have a point in common.
pub(super) fn touch(a: &Rect, b: &Rect) -> bool {
    a.x <= b.x + b.w && b.x <= a.x + a.w && a.y <= b.y + b.h && b.y <= a.y + a.h
}

/// Things by the cells of a grid that they are in.
struct Grid {
    area: Rect,
    across: usize,
    cells: Vec<Vec<usize>>,
}

impl Grid {
    fn new(area: Rect) -> Self {
        let count = |length: f64| (length / CELL).ceil().max(1.0) as usize;
        let (across, down) = (count(area.w), count(area.h));
        Self { area, across, cells: vec![vec![]; across * down] }
    }

    fn cells_of(&self, r: &Rect) -> impl Iterator<Item = usize> + use<> {
        let (across, down) = (self.across, self.cells.len() / self.across);
        let at = |x: f64, n: usize| ((x / CELL).max(0.0) as usize).min(n - 1);
        let (left, right) = (at(r.x - self.area.x, across), at(r.x + r.w - self.area.x, across));
        let (top, bottom) = (at(r.y - self.area.y, down), at(r.y + r.h - self.area.y, down));
        (top..=bottom).flat_map(move |row| (left..=right).map(move |column| row * across + column))
    }

    fn add(&mut self, r: &Rect, what: usize) {
        self.cells_of(r).for_each(|cell| self.cells[cell].push(what));
    }

    /// What is in the cells of a rectangle, each once, in order.
    fn near(&self, r: &Rect) -> Vec<usize> {
        let mut near: Vec<usize> = self.cells_of(r).flat_map(|cell| self.cells[cell].iter().copied()).collect();
        near.sort_unstable();
        near.dedup();
        near
    }
}

/// A place for each label, those that matter most first; none where there is no room.
pub(super) fn place(labels: &[Label], field: &Field<'_>) -> Vec<Option<Place>> {
    let mut dots = Grid::new(field.inside);
    let box_of = |(x, y): (f64, f64)| Rect {
        x: x - field.radius,
        y: y - field.radius,
        w: 2.0 * field.radius,
        h: 2.0 * field.radius,
    };
    field.dots.iter().enumerate().for_each(|(i, dot)| dots.add(&box_of(*dot), i));
    // The places that nothing but labels can take.
    let free = |label: &Label| -> Vec<Place> {
        let (x, y) = field.dots[label.dot];
        let around = AROUND.iter().map(|(side, up)| around(x, y, field.radius, label.size, *side, *up));
        let far = FAR.iter().filter(|_| label.far).flat_map(|distance| {
            (0..DIRECTIONS).map(move |turn| away(x, y, label.size, *distance, turn as f64 / DIRECTIONS as f64))
        });
        let is_free = |place: &Place| {
            let Rect { x, y, w, h } = place.area;
            let inside = field.inside;
            let within = x >= inside.x && y >= inside.y && x + w <= inside.x + inside.w && y + h <= inside.y + inside.h;
            let apart = || dots.near(&place.area).into_iter().all(|i| !touch(&place.area, &box_of(field.dots[i])));
            within && apart() && !(field.taken)(&place.area)
        };
        let mut free: Vec<Place> = around.filter(is_free).collect();
        if free.is_empty() {
            free.extend(far.filter(is_free));
        }
        free
    };
    let places: Vec<Vec<Place>> = labels.iter().map(free).collect();
    // Every place of every label, to know whose way it is in.
    let all: Vec<(usize, usize)> =
        places.iter().enumerate().flat_map(|(i, own)| (0..own.len()).map(move |p| (i, p))).collect();
    let mut wanted = Grid::new(field.inside);
    all.iter().enumerate().for_each(|(at, (i, p))| wanted.add(&places[*i][*p].area, at));
    let mut chosen: Vec<Option<usize>> = vec![None; labels.len()];
    let mut set = Grid::new(field.inside);
    // The line to a place that is away from its dot.
    let line = |of: usize, p: usize| {
        let place = &places[of][p];
        place.far.then(|| place.line(field.dots[labels[of].dot]))
    };
    let may_be_far: Vec<usize> = (0..labels.len()).filter(|i| places[*i].iter().any(|place| place.far)).collect();
    // Whether two places of two labels are in each other's way, the lines to them included.
    let collide = |(a, p): (usize, usize), (b, q): (usize, usize)| {
        let (first, second) = (&places[a][p].area, &places[b][q].area);
        touch(first, second)
            || line(a, p).is_some_and(|line| crosses(second, &line))
            || line(b, q).is_some_and(|line| crosses(first, &line))
    };
    for i in 0..labels.len() {
        let in_way = |set: &Grid, chosen: &[Option<usize>], of: usize, p: usize| -> Vec<usize> {
            let mut near = set.near(&places[of][p].area);
            near.extend(line(of, p).iter().flat_map(|line| set.near(&around_line(line))));
            near.extend(&may_be_far);
            near.sort_unstable();
            near.dedup();
            near.retain(|j| *j != of && chosen[*j].is_some_and(|q| collide((of, p), (*j, q))));
            near
        };
        let cost = |p: &usize| {
            let area = &places[i][*p].area;
            let later = |at: &usize| all[*at].0 > i && touch(area, &places[all[*at].0][all[*at].1].area);
            wanted.near(area).iter().filter(|at| later(at)).count()
        };
        let free = (0..places[i].len()).filter(|p| in_way(&set, &chosen, i, *p).is_empty()).min_by_key(cost);
        let found = free.or_else(|| {
            // Whether one label can make room.
            (0..places[i].len()).find(|p| {
                let [other] = in_way(&set, &chosen, i, *p)[..] else { return false };
                let goes = |q: &usize| !collide((i, *p), (other, *q)) && in_way(&set, &chosen, other, *q).is_empty();
                match (0..places[other].len()).find(goes) {
                    Some(q) => {
                        // It may stay in the cells that it left: what is there is looked at anew.
                        chosen[other] = Some(q);
                        set.add(&places[other][q].area, other);
                        true
                    }
                    None => false,
                }
            })
        });
        if let Some(p) = found {
            chosen[i] = Some(p);
            set.add(&places[i][p].area, i);
        }
    }
    chosen.into_iter().enumerate().map(|(i, p)| Some(places[i][p?])).collect()
}

fn around(x: f64, y: f64, radius: f64, (w, h): (f64, f64), side: Side, up: f64) -> Place {
    let away = radius + GAP;
    let left = match side {
        Side::Right => x + away,
        Side::Left => x - away - w,
        Side::Middle => x - w / 2.0,
    };
    // Above and below, clear of the dot.
    let middle = y + up * if side == Side::Middle { h / 2.0 + away } else { h + away };
    Place { area: Rect { x: left, y: middle - h / 2.0, w, h }, side, far: false }
}

/// A place away from a dot, in a direction as a part of a turn: the label's edge that is nearest to the dot is so far away.
fn away(x: f64, y: f64, (w, h): (f64, f64), distance: f64, turn: f64) -> Place {
    let (up, along) = (turn * std::f64::consts::TAU).sin_cos();
    let (side, left) = match along {
        0.3.. => (Side::Right, x + along * distance),
        ..-0.3 => (Side::Left, x + along * distance - w),
        _ => (Side::Middle, x + along * distance - w / 2.0),
    };
    Place { area: Rect { x: left, y: y - up * (distance + h / 2.0) - h / 2.0, w, h }, side, far: true }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand::{Rng, SeedableRng};
    use rand_chacha::ChaCha8Rng;

    const INSIDE: Rect = Rect { x: 0.0, y: 0.0, w: 600.0, h: 400.0 };

    fn field<'a>(dots: &'a [(f64, f64)], taken: &'a dyn Fn(&Rect) -> bool) -> Field<'a> {
        Field { dots, radius: 3.0, inside: INSIDE, taken }
    }

    fn crowd(n: usize, seed: u64) -> Vec<(f64, f64)> {
        let mut random = ChaCha8Rng::seed_from_u64(seed);
        (0..n).map(|_| (random.random_range(0.0..600.0), random.random_range(0.0..400.0))).collect()
    }

    /// Invariant: No label of a figure lies on another, on a dot, or outside, however crowded the dots are.
    #[test]
    fn labels_touch_neither_labels_nor_dots() {
        for (n, seed) in [(1, 0), (30, 1), (300, 2), (2000, 3)] {
            let dots = crowd(n, seed);
            let labels: Vec<Label> =
                (0..n).map(|dot| Label { dot, size: (20.0 + (dot * 7 % 40) as f64, 9.5), far: dot % 5 == 0 }).collect();
            let line = |r: &Rect| r.x < 300.0 && r.x + r.w > 300.0;
            let placed = place(&labels, &field(&dots, &line));
            let areas: Vec<Rect> = placed.iter().flatten().map(|place| place.area).collect();
            assert!(!areas.is_empty() && (n > 100 || areas.len() >= n * 2 / 3), "{n}: {}", areas.len());
            for (i, a) in areas.iter().enumerate() {
                let inside = a.x >= 0.0 && a.y >= 0.0 && a.x + a.w <= INSIDE.w && a.y + a.h <= INSIDE.h;
                assert!(inside && !line(a), "{n}: {a:?}");
                assert!(areas[..i].iter().all(|b| !touch(a, b)), "{n}: {a:?}");
                for (j, place) in placed.iter().enumerate() {
                    let Some(place) = place.filter(|place| place.far && place.area != *a) else { continue };
                    // Ends apart: points of the line, one after the other.
                    let [from, to] = place.line(dots[j]);
                    let at = |t: f64| (from.0 + t * (to.0 - from.0), from.1 + t * (to.1 - from.1));
                    let on = |(x, y)| x > a.x && x < a.x + a.w && y > a.y && y < a.y + a.h;
                    assert!(!(0..200).any(|t| on(at(f64::from(t) / 200.0))), "{n}: {a:?} lies on a line");
                }
                for (x, y) in &dots {
                    // The nearest point of the rectangle.
                    let (dx, dy) = (x - x.clamp(a.x, a.x + a.w), y - y.clamp(a.y, a.y + a.h));
                    assert!(dx * dx + dy * dy > 9.0, "{n}: {a:?} lies on the dot at {x}, {y}");
                }
            }
            assert_eq!(placed, place(&labels, &field(&dots, &line)));
        }
    }

    /// A label that may stand away is placed although there is no room beside its dot.
    #[test]
    fn a_label_that_matters_stands_away_where_there_is_no_room() {
        let mut dots = crowd(3000, 5);
        dots.retain(|(x, y)| (x - 300.0).hypot(y - 200.0) < 70.0);
        dots[0] = (300.0, 200.0);
        let label = |far| place(&[Label { dot: 0, size: (60.0, 10.0), far }], &field(&dots, &|_| false))[0];
        assert_eq!(label(false), None);
        assert!(label(true).is_some_and(|place| place.far));
    }

    /// The first label takes the place that is in fewer ways, which is the second's only one: it goes elsewhere, where it is in the way of
    /// the third, which has another.
    #[test]
    fn one_label_makes_room_for_another() {
        let dots = [(100.0, 100.0), (150.0, 100.0), (60.0, 100.0)];
        let places = [
            [(105.5, 95.0), (64.5, 95.0)].as_slice(),
            &[(114.5, 95.0)],
            &[(65.5, 95.0), (65.5, 87.25), (65.5, 102.75), (24.5, 95.0)],
        ];
        let taken = |r: &Rect| !places.concat().contains(&(r.x, r.y));
        let labels = [0, 1, 2].map(|dot| Label { dot, size: (30.0, 10.0), far: false });
        let at =
            |placed: Vec<Option<Place>>| placed.iter().map(|place| place.map(|place| place.area.x)).collect::<Vec<_>>();
        assert_eq!(at(place(&labels[..1], &field(&dots, &taken))), [Some(105.5)]);
        assert_eq!(at(place(&labels, &field(&dots, &taken))), [Some(64.5), Some(114.5), Some(24.5)]);
    }
}
