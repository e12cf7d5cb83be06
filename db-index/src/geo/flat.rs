//! Regions of the plane, for the older operators: `$box`, `$center`, `$polygon`.

use super::geojson::Pair;

/// A part of the plane, its boundary with it.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum FlatRegion {
    /// Between two corners.
    Box(Rectangle),
    /// Within a distance of a centre.
    Center { center: Pair, radius: f64 },
    /// Inside a closed line by the even-odd rule.
    Polygon(Vec<Pair>),
}

/// An upright rectangle.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Rectangle {
    pub(crate) low: Pair,
    pub(crate) high: Pair,
}

impl FlatRegion {
    /// Whether `place` is in it.
    pub(crate) fn contains(&self, place: Pair) -> bool {
        match self {
            Self::Box(rectangle) => rectangle.contains(place),
            Self::Center { center, radius } => distance(*center, place) <= *radius,
            Self::Polygon(corners) => polygon_contains(corners, place),
        }
    }

    /// A rectangle around it.
    pub(crate) fn bounds(&self) -> Rectangle {
        match self {
            Self::Box(rectangle) => *rectangle,
            Self::Center { center, radius } => Rectangle::around(*center, *radius),
            Self::Polygon(corners) => {
                let infinity = f64::INFINITY;
                let none = Rectangle {
                    low: Pair { x: infinity, y: infinity },
                    high: Pair { x: -infinity, y: -infinity },
                };
                corners.iter().fold(none, |all, corner| Rectangle {
                    low: Pair { x: all.low.x.min(corner.x), y: all.low.y.min(corner.y) },
                    high: Pair { x: all.high.x.max(corner.x), y: all.high.y.max(corner.y) },
                })
            }
        }
    }
}

impl Rectangle {
    /// The square around a circle.
    pub(crate) fn around(center: Pair, radius: f64) -> Self {
        Self {
            low: Pair { x: center.x - radius, y: center.y - radius },
            high: Pair { x: center.x + radius, y: center.y + radius },
        }
    }

    pub(crate) fn contains(&self, place: Pair) -> bool {
        (self.low.x..=self.high.x).contains(&place.x) && (self.low.y..=self.high.y).contains(&place.y)
    }

    /// Whether both have a place in common.
    pub(crate) fn meets(&self, other: &Self) -> bool {
        self.low.x <= other.high.x
            && other.low.x <= self.high.x
            && self.low.y <= other.high.y
            && other.low.y <= self.high.y
    }

    /// Whether the other one is within this one.
    pub(crate) fn holds(&self, other: &Self) -> bool {
        self.contains(other.low) && self.contains(other.high)
    }

    /// The greatest distance from `place` to a corner.
    pub(crate) fn farthest(&self, place: Pair) -> f64 {
        let x = (place.x - self.low.x).abs().max((self.high.x - place.x).abs());
        let y = (place.y - self.low.y).abs().max((self.high.y - place.y).abs());
        (x * x + y * y).sqrt()
    }
}

/// The distance on the plane.
pub(crate) fn distance(a: Pair, b: Pair) -> f64 {
    let (x, y) = (a.x - b.x, a.y - b.y);
    (x * x + y * y).sqrt()
}

fn polygon_contains(corners: &[Pair], place: Pair) -> bool {
    let next = corners.iter().cycle().skip(1);
    let mut inside = false;
    for (a, b) in corners.iter().zip(next) {
        let turn = (b.x - a.x) * (place.y - a.y) - (b.y - a.y) * (place.x - a.x);
        let between = |from: f64, to: f64, value: f64| from.min(to) <= value && value <= from.max(to);
        if turn == 0.0 && between(a.x, b.x, place.x) && between(a.y, b.y, place.y) {
            return true; // on the line
        }
        if (a.y > place.y) != (b.y > place.y) {
            inside ^= (turn > 0.0) == (b.y > a.y);
        }
    }
    inside
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(x: f64, y: f64) -> Pair {
        Pair { x, y }
    }

    #[test]
    fn boundaries_belong_to_regions() {
        let corners = vec![at(0.0, 0.0), at(10.0, 0.0), at(10.0, 10.0), at(5.0, 3.0), at(0.0, 10.0)];
        let polygon = FlatRegion::Polygon(corners);
        for (x, y, expected) in [
            (1.0, 1.0, true),
            (5.0, 4.0, false),
            (5.0, 3.0, true),
            (0.0, 5.0, true),
            (9.0, 7.0, true),
            (-1.0, 0.0, false),
        ] {
            assert_eq!(polygon.contains(at(x, y)), expected, "{x} {y}");
        }
        let circle = FlatRegion::Center { center: at(0.0, 0.0), radius: 5.0 };
        assert!(circle.contains(at(3.0, 4.0)) && !circle.contains(at(3.0, 4.1)));
        let square = FlatRegion::Box(Rectangle { low: at(0.0, 0.0), high: at(1.0, 1.0) });
        assert!(square.contains(at(1.0, 1.0)) && !square.contains(at(1.0, 1.1)));
        assert_eq!(polygon.bounds(), Rectangle { low: at(0.0, 0.0), high: at(10.0, 10.0) });
    }
}
