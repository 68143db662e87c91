//! What is measured of facets, whichever encoding they came in.

use crate::check::note_if;
use crate::report::{BoundingBox, Note};

/// Three corners, each x, y, z.
pub(super) type Corners = [[f32; 3]; 3];

/// Counts and extent of all facets of one file.
#[derive(Debug)]
pub(super) struct Facets {
    pub(super) count: u64,
    not_finite: u64,
    without_area: u64,
    min: [f32; 3],
    max: [f32; 3],
}

impl Facets {
    pub(super) fn new() -> Self {
        Facets {
            count: 0,
            not_finite: 0,
            without_area: 0,
            min: [f32::INFINITY; 3],
            max: [f32::NEG_INFINITY; 3],
        }
    }

    #[inline]
    pub(super) fn add(&mut self, corners: &Corners) {
        self.count += 1;
        let is_finite = corners
            .iter()
            .flatten()
            .fold(true, |all, value| all & value.is_finite());
        if !is_finite {
            self.not_finite += 1;
            return;
        }
        for corner in corners {
            // Plain comparisons compile to one instruction each; `f32::min` guards against
            // values that were sorted out above.
            for ((&value, min), max) in corner.iter().zip(&mut self.min).zip(&mut self.max) {
                *min = if value < *min { value } else { *min };
                *max = if value > *max { value } else { *max };
            }
        }
        self.without_area += u64::from(is_without_area(corners));
    }

    pub(super) fn bounding_box(&self) -> Option<BoundingBox> {
        (self.count > self.not_finite).then_some(BoundingBox {
            min: self.min,
            max: self.max,
        })
    }

    pub(super) fn note(&self, notes: &mut Vec<Note>) {
        note_if(notes, self.not_finite, |facets| Note::NotFinite { facets });
        note_if(notes, self.without_area, |facets| Note::WithoutArea {
            facets,
        });
    }
}

/// Whether the corners lie on one line, judged in double precision, where the differences and
/// products of single-precision values neither overflow nor vanish.
#[inline]
fn is_without_area(corners: &Corners) -> bool {
    let edge = |to: usize, axis: usize| f64::from(corners[to][axis]) - f64::from(corners[0][axis]);
    let (a, b) = (
        [edge(1, 0), edge(1, 1), edge(1, 2)],
        [edge(2, 0), edge(2, 1), edge(2, 2)],
    );
    let normal = [
        a[1] * b[2] - a[2] * b[1],
        a[2] * b[0] - a[0] * b[2],
        a[0] * b[1] - a[1] * b[0],
    ];
    normal == [0.0; 3]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn facets_are_measured() {
        let mut facets = Facets::new();
        assert_eq!(facets.bounding_box(), None);
        facets.add(&[[0.0, 0.0, 0.0], [1.0, 0.0, 0.0], [0.0, 2.0, -3.0]]);
        // Smaller than single precision could multiply, and still with an area.
        facets.add(&[[0.0, 0.0, 0.0], [1e-30, 0.0, 0.0], [0.0, 1e-30, 0.0]]);
        facets.add(&[[0.0, 0.0, 0.0], [1.0, 1.0, 1.0], [2.0, 2.0, 2.0]]);
        facets.add(&[[5.0, 5.0, 5.0]; 3]);
        facets.add(&[[f32::NAN, 9.0, 9.0], [9.0; 3], [9.0; 3]]);
        facets.add(&[[f32::INFINITY, 9.0, 9.0], [9.0; 3], [9.0; 3]]);

        assert_eq!(facets.count, 6);
        assert_eq!(
            facets.bounding_box(),
            Some(BoundingBox {
                min: [0.0, 0.0, -3.0],
                max: [5.0, 5.0, 5.0]
            })
        );
        let mut notes = Vec::new();
        facets.note(&mut notes);
        assert_eq!(
            notes,
            [
                Note::NotFinite { facets: 2 },
                Note::WithoutArea { facets: 2 }
            ]
        );
    }
}
