//! Cells: the sphere cut into the six faces of a cube, each face four times smaller and smaller, 29 times.
//!
//! A cell is named by the number of its face, the quarters that lead to it, and a final 1 bit, filled up with zeros:
//!
//! ```text
//! face (3 bits) | quarters (2 bits each, 0 to 29 of them) | 1 | 0 …          62 bits together
//! ```
//!
//! so that all cells within a cell have the names in one range. The places of the grid on a face are spread by a quadratic
//! function, which makes cells of one level nearly equal in size. The idea is that of the S2 library; the order of quarters
//! is plain.

use super::vector::{TOLERANCE, Vector};

/// How many times a face is cut at most. Such a cell is about two centimeters wide.
pub(crate) const LEVEL_MAX: u32 = 29;
const FACES: u64 = 6;

/// A cell of any level.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Cell(u64);

/// How a region lies to a cell.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Relation {
    /// They have nothing in common.
    Outside,
    /// They may have something in common.
    Crossing,
    /// The whole cell is in the region.
    Inside,
}

impl Cell {
    /// The six largest cells.
    pub(crate) fn faces() -> impl Iterator<Item = Self> {
        (0..FACES).map(|face| Self::new(face, 0, 0))
    }

    fn new(face: u64, path: u64, level: u32) -> Self {
        let rest = 2 * (LEVEL_MAX - level.min(LEVEL_MAX));
        Self((((face << (2 * level)) | path) << 1 | 1) << rest)
    }

    /// The smallest cell around a place.
    pub(crate) fn leaf(place: Vector) -> Self {
        let Vector { x, y, z } = place;
        let (face, u, v) = if x.abs() >= y.abs() && x.abs() >= z.abs() {
            (u64::from(x < 0.0), y / x.abs(), z / x.abs())
        } else if y.abs() >= z.abs() {
            (2 + u64::from(y < 0.0), x / y.abs(), z / y.abs())
        } else {
            (4 + u64::from(z < 0.0), x / z.abs(), y / z.abs())
        };
        Self::new(face, interleave(grid(u)) << 1 | interleave(grid(v)), LEVEL_MAX)
    }

    /// The name, as an index holds it.
    pub(crate) fn id(self) -> i64 {
        self.0 as i64 // 62 bits
    }

    /// How many times the face was cut.
    pub(crate) fn level(self) -> u32 {
        LEVEL_MAX - self.0.trailing_zeros() / 2
    }

    /// The names of this cell and of all within it: from, and up to and including.
    pub(crate) fn range(self) -> (i64, i64) {
        let around = (self.0 & self.0.wrapping_neg()) - 1;
        ((self.0 - around) as i64, (self.0 + around) as i64)
    }

    /// The cell that this one is a quarter of.
    pub(crate) fn parent(self) -> Option<Self> {
        let last = self.0 & self.0.wrapping_neg();
        (self.level() > 0).then_some(Self((self.0 & !(last << 1) & !(last << 2) & !last) | (last << 2)))
    }

    /// The quarters; none of the smallest cells.
    pub(crate) fn quarters(self) -> impl Iterator<Item = Self> {
        let last = self.0 & self.0.wrapping_neg();
        let next = last >> 2;
        let count = if self.level() < LEVEL_MAX { 4 } else { 0 };
        (0..count).map(move |quarter| Self((self.0 & !last) | ((quarter * 2 + 1) * next)))
    }

    /// A cap around the cell: centre and radius.
    pub(crate) fn cap(self) -> (Vector, f64) {
        let (face, level) = (self.0 >> (2 * LEVEL_MAX + 1), self.level());
        let path = self.0 >> (2 * (LEVEL_MAX - level) + 1);
        let (across, up) = (gather(path >> 1) & mask(level), gather(path) & mask(level));
        let scale = 1.0 / (1_u64 << level) as f64;
        let at = |across: f64, up: f64| on_face(face, spread(across * scale), spread(up * scale));
        let (across, up) = (across as f64, up as f64);
        let center = at(across + 0.5, up + 0.5);
        let corners = [(0.0, 0.0), (1.0, 0.0), (0.0, 1.0), (1.0, 1.0)];
        let radius =
            corners.map(|(a, b)| center.angle(at(across + a, up + b))).into_iter().fold(0.0, f64::max);
        (center, radius + TOLERANCE)
    }
}

/// Cells that together hold a region: `relation` tells how the region lies to a cap around each. At most `count` of them
/// (but for the faces of a region that many of them meet), none smaller than `level`.
pub(crate) fn covering(count: usize, level: u32, relation: impl Fn(Vector, f64) -> Relation) -> Vec<Cell> {
    let look = |cell: Cell| {
        let (center, radius) = cell.cap();
        (cell, relation(center, radius))
    };
    let mut done = Vec::new();
    // The cells of one level that are still to be cut.
    let mut open = Vec::new();
    let sort = |(cell, relation): (Cell, Relation), done: &mut Vec<Cell>, open: &mut Vec<Cell>| match relation
    {
        Relation::Outside => {}
        Relation::Inside => done.push(cell),
        Relation::Crossing if cell.level() >= level => done.push(cell),
        Relation::Crossing => open.push(cell),
    };
    for face in Cell::faces() {
        sort(look(face), &mut done, &mut open);
    }
    while !open.is_empty() {
        let mut next = Vec::new();
        let mut left = open.len();
        for cell in std::mem::take(&mut open) {
            left -= 1;
            let quarters: Vec<(Cell, Relation)> =
                cell.quarters().map(look).filter(|(_, relation)| *relation != Relation::Outside).collect();
            if done.len() + next.len() + left + quarters.len() > count {
                done.push(cell);
            } else {
                for quarter in quarters {
                    sort(quarter, &mut done, &mut next);
                }
            }
        }
        open = next;
    }
    done.sort_unstable();
    done
}

/// From -1..1 on a face to 0..1 of its grid.
fn unspread(place: f64) -> f64 {
    if place >= 0.0 { 0.5 * (1.0 + 3.0 * place).sqrt() } else { 1.0 - 0.5 * (1.0 - 3.0 * place).sqrt() }
}

/// The reverse.
fn spread(place: f64) -> f64 {
    if place >= 0.5 {
        (4.0 * place * place - 1.0) / 3.0
    } else {
        (1.0 - 4.0 * (1.0 - place) * (1.0 - place)) / 3.0
    }
}

fn grid(place: f64) -> u64 {
    // A cast keeps within bounds and takes NaN for 0.
    ((unspread(place) * (1_u64 << LEVEL_MAX) as f64) as u64).min((1 << LEVEL_MAX) - 1)
}

fn on_face(face: u64, u: f64, v: f64) -> Vector {
    let sign = if face & 1 == 0 { 1.0 } else { -1.0 };
    let place = match face / 2 {
        0 => Vector::new(sign, u, v),
        1 => Vector::new(u, sign, v),
        _ => Vector::new(u, v, sign),
    };
    place.normalized().unwrap_or(place)
}

fn mask(bits: u32) -> u64 {
    (1 << bits) - 1
}

/// Puts a 0 before each of the lower 32 bits.
pub(super) fn interleave(bits: u64) -> u64 {
    let mut bits = bits & 0xffff_ffff;
    bits = (bits | bits << 16) & 0x0000_ffff_0000_ffff;
    bits = (bits | bits << 8) & 0x00ff_00ff_00ff_00ff;
    bits = (bits | bits << 4) & 0x0f0f_0f0f_0f0f_0f0f;
    bits = (bits | bits << 2) & 0x3333_3333_3333_3333;
    (bits | bits << 1) & 0x5555_5555_5555_5555
}

/// Takes every second bit, from the lowest on.
fn gather(bits: u64) -> u64 {
    let mut bits = bits & 0x5555_5555_5555_5555;
    bits = (bits | bits >> 1) & 0x3333_3333_3333_3333;
    bits = (bits | bits >> 2) & 0x0f0f_0f0f_0f0f_0f0f;
    bits = (bits | bits >> 4) & 0x00ff_00ff_00ff_00ff;
    bits = (bits | bits >> 8) & 0x0000_ffff_0000_ffff;
    (bits | bits >> 16) & 0xffff_ffff
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn ancestors(cell: Cell) -> impl Iterator<Item = Cell> {
        std::iter::successors(Some(cell), |cell| cell.parent())
    }

    #[test]
    fn quarters_lie_within_their_cell_and_lead_back_to_it() {
        for face in Cell::faces() {
            assert_eq!((face.level(), face.parent()), (0, None));
            for quarter in face.quarters().flat_map(Cell::quarters) {
                assert_eq!(quarter.level(), 2);
                assert_eq!(quarter.parent().unwrap().parent().unwrap(), face);
                let ((low, high), (from, to)) = (face.range(), quarter.range());
                assert!(low <= from && to <= high);
            }
        }
        let leaf = Cell::leaf(Vector::from_degrees(13.4, 52.5));
        assert_eq!((leaf.level(), leaf.range()), (LEVEL_MAX, (leaf.id(), leaf.id())));
        assert_eq!(ancestors(leaf).count(), 30);
    }

    proptest! {
        #[test]
        fn every_cell_around_a_place_has_it_in_its_cap(longitude in -180.0..180.0_f64, latitude in -90.0..90.0_f64) {
            let place = Vector::from_degrees(longitude, latitude);
            for cell in ancestors(Cell::leaf(place)) {
                let (center, radius) = cell.cap();
                prop_assert!(center.angle(place) <= radius, "level {}", cell.level());
            }
        }

        #[test]
        fn a_covering_holds_every_place_of_its_region(
            longitude in -180.0..180.0_f64, latitude in -90.0..90.0_f64, exponent in -7.0..1.2_f64,
            turn in 0.0..6.3_f64, part in 0.0..1.0_f64, count in 4..40_usize,
        ) {
            let (middle, size) = (Vector::from_degrees(longitude, latitude), 10_f64.powf(exponent).min(3.1));
            let cells = covering(count, LEVEL_MAX, |center, radius| {
                let distance = center.angle(middle);
                if distance > size + radius { Relation::Outside }
                else if distance + radius < size { Relation::Inside }
                else { Relation::Crossing }
            });
            prop_assert!(cells.len() <= count.max(6));
            let aside = middle.orthogonal();
            let up = middle.cross(aside).normalized().unwrap();
            let angle = size * part;
            let mix = |a: f64, b: f64, c: f64| Vector::new(
                middle.x * a + aside.x * b + up.x * c,
                middle.y * a + aside.y * b + up.y * c,
                middle.z * a + aside.z * b + up.z * c,
            );
            let place = mix(angle.cos(), angle.sin() * turn.cos(), angle.sin() * turn.sin()).normalized().unwrap();
            let id = Cell::leaf(place).id();
            let holds = |cell: &Cell| (cell.range().0..=cell.range().1).contains(&id);
            prop_assert!(cells.iter().any(holds));
        }
    }
}
