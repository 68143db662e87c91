//! A few solids, made of triangles and written as binary STL.

use std::f32::consts::{PI, TAU};

type Point = [f32; 3];

/// A solid to show.
#[derive(Debug)]
pub(super) struct Shape {
    /// The title of its model.
    pub(super) title: &'static str,
    /// The name of its file.
    pub(super) filename: &'static str,
    triangles: Vec<[Point; 3]>,
}

/// The solids of the sample data.
pub(super) fn all() -> [Shape; 3] {
    [
        Shape {
            title: "Ball",
            filename: "ball.stl",
            triangles: surface(48, 24, ball),
        },
        Shape {
            title: "Ring",
            filename: "ring.stl",
            triangles: surface(64, 32, ring),
        },
        Shape {
            title: "Vase",
            filename: "vase.stl",
            triangles: surface(64, 48, vase),
        },
    ]
}

/// The solid that a new user uploads.
pub(super) fn pyramid() -> Shape {
    let (a, b, c, d) = (
        [0.0, 0.0, 0.0],
        [20.0, 0.0, 0.0],
        [20.0, 20.0, 0.0],
        [0.0, 20.0, 0.0],
    );
    let top = [10.0, 10.0, 16.0];
    let triangles = vec![
        [a, c, b],
        [a, d, c],
        [a, b, top],
        [b, c, top],
        [c, d, top],
        [d, a, top],
    ];
    Shape {
        title: "Pyramid",
        filename: "pyramid.stl",
        triangles,
    }
}

impl Shape {
    /// The solid as binary STL: 80 bytes of header, a count, 50 bytes for each triangle.
    pub(super) fn stl(&self) -> Vec<u8> {
        let mut bytes = vec![b' '; 80];
        let header = format!("Stockroom sample: {}", self.title);
        bytes[..header.len()].copy_from_slice(header.as_bytes());
        let count = u32::try_from(self.triangles.len()).unwrap_or(u32::MAX);
        bytes.extend_from_slice(&count.to_le_bytes());
        for triangle in &self.triangles {
            for point in [normal(triangle)].iter().chain(triangle) {
                point
                    .iter()
                    .for_each(|value| bytes.extend_from_slice(&value.to_le_bytes()));
            }
            bytes.extend_from_slice(&[0, 0]);
        }
        bytes
    }
}

/// A closed surface over two angles, each from 0 to 1, as a grid of triangles.
fn surface(columns: u16, rows: u16, point: fn(f32, f32) -> Point) -> Vec<[Point; 3]> {
    let at = |column: u16, row: u16| {
        point(
            f32::from(column % columns) / f32::from(columns),
            f32::from(row) / f32::from(rows),
        )
    };
    let cells = (0..rows).flat_map(|row| (0..columns).map(move |column| (column, row)));
    cells
        .flat_map(|(column, row)| {
            let (a, b) = (at(column, row), at(column + 1, row));
            let (c, d) = (at(column + 1, row + 1), at(column, row + 1));
            [[a, b, c], [a, c, d]]
        })
        // At a pole a side of the cell is a point, and so is one of its triangles.
        .filter(|[a, b, c]| a != b && b != c && c != a)
        .collect()
}

fn ball(u: f32, v: f32) -> Point {
    turned(u, 15.0 * (PI * v).sin(), -15.0 * (PI * v).cos())
}

fn ring(u: f32, v: f32) -> Point {
    let around = TAU * v;
    turned(u, 18.0 + 6.0 * around.cos(), 6.0 * around.sin())
}

fn vase(u: f32, v: f32) -> Point {
    let belly = 9.0 + 5.0 * (TAU * v).sin();
    // Closed at both ends, so that it is one solid.
    let radius = if v <= 0.0 || v >= 1.0 { 0.0 } else { belly };
    turned(u, radius, 40.0 * v)
}

/// The point at this radius and height, turned around the vertical axis.
fn turned(u: f32, radius: f32, height: f32) -> Point {
    let angle = TAU * u;
    [radius * angle.cos(), radius * angle.sin(), height]
}

fn normal([a, b, c]: &[Point; 3]) -> Point {
    let side = |to: &Point| [to[0] - a[0], to[1] - a[1], to[2] - a[2]];
    let (p, q) = (side(b), side(c));
    let cross = [
        p[1] * q[2] - p[2] * q[1],
        p[2] * q[0] - p[0] * q[2],
        p[0] * q[1] - p[1] * q[0],
    ];
    let length = cross.iter().map(|value| value * value).sum::<f32>().sqrt();
    cross.map(|value| if length > 0.0 { value / length } else { 0.0 })
}

#[cfg(test)]
mod tests {
    use stockroom_formats::{Checker, Details};

    use super::*;

    #[test]
    fn every_sample_is_a_valid_stl_with_a_volume() {
        for shape in all().into_iter().chain([pyramid()]) {
            let bytes = shape.stl();
            let mut checker = Checker::new(shape.filename);
            checker.update(&bytes).unwrap();
            let report = checker.finish().unwrap();
            assert!(
                report.notes.is_empty(),
                "{}: {:?}",
                shape.title,
                report.notes
            );
            let Details::Stl(details) = report.details else {
                panic!("{}", shape.title)
            };
            assert!(details.triangles >= 6);
            // A closed surface whose triangles all turn outwards encloses a volume above zero.
            let volume: f32 = shape
                .triangles
                .iter()
                .map(|[a, b, c]| {
                    a[0] * (b[1] * c[2] - b[2] * c[1])
                        + a[1] * (b[2] * c[0] - b[0] * c[2])
                        + a[2] * (b[0] * c[1] - b[1] * c[0])
                })
                .sum();
            assert!(volume > 0.0, "{}", shape.title);
        }
    }
}
