//! A picture in memory, planar YUV 4:2:0 (BT.709, limited range), and the few ways of drawing on it.
//!
//! Drawing is in units of a sheet of [`SHEET`] that is laid over the middle of the picture, as large as fits: what is
//! drawn looks alike at every size. A soft shape is a distance to its edge, blended by how much of each pixel it covers.
//! Nothing drawn outside the picture is an error: it is cut off.

use std::ops::Range;

use openh264::formats::YUVSource;

use super::font;

/// Width and height of the sheet, in its units.
pub const SHEET: (f32, f32) = (640.0, 360.0);

/// One colour as the encoder wants it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Colour {
    y: u8,
    u: u8,
    v: u8,
}

impl Colour {
    /// From red, green and blue as a web page would write them: `0xRRGGBB`.
    pub const fn rgb(rgb: u32) -> Self {
        let (r, g, b) = ((rgb >> 16 & 255) as i32, (rgb >> 8 & 255) as i32, (rgb & 255) as i32);
        // BT.709 in 1/65536: luma 16..=235, chroma 16..=240.
        Self {
            y: (16 + ((11_966 * r + 40_254 * g + 4_064 * b + 32_768) >> 16)) as u8,
            u: (128 + ((-6_596 * r - 22_189 * g + 28_785 * b + 32_768) >> 16)) as u8,
            v: (128 + ((28_785 * r - 26_145 * g - 2_640 * b + 32_768) >> 16)) as u8,
        }
    }

    /// This colour with `part` of `other` in it, `part` from 0 to 1.
    pub fn mix(self, other: Self, part: f32) -> Self {
        let alpha = to_alpha(part);
        Self {
            y: blend(self.y, other.y, alpha),
            u: blend(self.u, other.u, alpha),
            v: blend(self.v, other.v, alpha),
        }
    }
}

/// A rectangle in units of the sheet; may reach out of it.
#[derive(Clone, Copy, Debug)]
pub struct Area {
    pub x: f32,
    pub y: f32,
    pub width: f32,
    pub height: f32,
}

impl Area {
    /// What a shape of `reach` around a segment may touch.
    fn around(from: (f32, f32), to: (f32, f32), reach: f32) -> Self {
        let (x, y) = (from.0.min(to.0) - reach, from.1.min(to.1) - reach);
        Self { x, y, width: from.0.max(to.0) + reach - x, height: from.1.max(to.1) + reach - y }
    }
}

/// How much of each pixel a shape covers, worked out once and stamped often.
#[derive(Clone, Debug, Default)]
pub struct Mask {
    width: usize,
    coverage: Vec<u8>,
    /// From this letter's left edge to the next one's, in units of the sheet.
    pub advance: f32,
}

impl Mask {
    /// One letter for `canvas`, with `size` units to a font cell and strokes of `weight` cells.
    pub fn letter(canvas: &Canvas, letter: char, size: f32, weight: f32) -> Self {
        let glyph = font::Glyph::of(letter);
        let scale = size * canvas.scale;
        let (width, height) =
            ((glyph.advance() * scale).ceil() as usize, (font::HEIGHT * scale).ceil() as usize);
        let mut coverage = Vec::with_capacity(width * height);
        for row in 0..height {
            for column in 0..width {
                let distance = glyph.distance((column as f32 + 0.5) / scale, (row as f32 + 0.5) / scale);
                coverage.push(to_alpha((weight / 2.0 - distance) * scale + 0.5) as u8);
            }
        }
        Self { width, coverage, advance: glyph.advance() * size }
    }
}

/// The picture.
#[derive(Clone, Debug)]
pub struct Canvas {
    width: usize,
    height: usize,
    luma: Vec<u8>,
    /// U, then V: a quarter of the luma each.
    chroma: [Vec<u8>; 2],
    /// Pixels to a unit of the sheet.
    scale: f32,
    /// Where the sheet's upper left corner lies, in pixels.
    corner: (f32, f32),
}

impl Canvas {
    /// A picture of one colour, in pixels; odd sizes are rounded down to even ones.
    pub fn new(width: usize, height: usize, colour: Colour) -> Self {
        let (width, height) = (width & !1, height & !1);
        let (pixels, quarter) = (width * height, width * height / 4);
        let scale = (width as f32 / SHEET.0).min(height as f32 / SHEET.1);
        let corner = ((width as f32 - SHEET.0 * scale) / 2.0, (height as f32 - SHEET.1 * scale) / 2.0);
        let chroma = [vec![colour.u; quarter], vec![colour.v; quarter]];
        Self { width, height, luma: vec![colour.y; pixels], chroma, scale, corner }
    }

    /// Takes over another picture, which must have the same size.
    pub fn copy_from(&mut self, other: &Self) {
        self.luma.copy_from_slice(&other.luma);
        for (into, from) in self.chroma.iter_mut().zip(&other.chroma) {
            into.copy_from_slice(from);
        }
    }

    /// Fills a rectangle; its edges go to the nearest even pixels, so that neighbours meet.
    pub fn fill(&mut self, area: Area, colour: Colour) {
        let even = |pixels: f32| (pixels / 2.0).round() * 2.0;
        let Some((columns, rows)) = self.pixels(area, even, even) else { return };
        for line in self.luma.chunks_exact_mut(self.width).take(rows.end).skip(rows.start) {
            line[columns.clone()].fill(colour.y);
        }
        let [u, v] = &mut self.chroma;
        for (plane, value) in [(u, colour.u), (v, colour.v)] {
            for line in plane.chunks_exact_mut(self.width / 2).take(rows.end / 2).skip(rows.start / 2) {
                line[columns.start / 2..columns.end / 2].fill(value);
            }
        }
    }

    /// Blends `colour` over what lies inside a shape: `depth` says how far inside its edge a point is, in units;
    /// negative outside.
    pub fn shade(&mut self, area: Area, colour: Colour, depth: impl Fn(f32, f32) -> f32) {
        let Some((columns, rows)) = self.pixels(area, f32::floor, f32::ceil) else { return };
        for row in rows {
            let y = (row as f32 + 0.5 - self.corner.1) / self.scale;
            for column in columns.clone() {
                let x = (column as f32 + 0.5 - self.corner.0) / self.scale;
                self.dot(column, row, colour, to_alpha(depth(x, y) * self.scale + 0.5));
            }
        }
    }

    /// A line with round ends.
    pub fn line(&mut self, from: (f32, f32), to: (f32, f32), thickness: f32, colour: Colour) {
        let radius = thickness / 2.0;
        let area = Area::around(from, to, radius + 1.0 / self.scale);
        self.shade(area, colour, |x, y| radius - font::to_segment((x, y), from, to));
    }

    /// A disc.
    pub fn disc(&mut self, middle: (f32, f32), radius: f32, colour: Colour) {
        self.line(middle, middle, radius * 2.0, colour);
    }

    /// Stamps a mask with its upper left corner at the pixel nearest to `x`, `y`.
    pub fn stamp(&mut self, x: f32, y: f32, mask: &Mask, colour: Colour) {
        if mask.width == 0 {
            return;
        }
        let left = (x * self.scale + self.corner.0).round() as i32;
        let top = (y * self.scale + self.corner.1).round() as i32;
        for (row, line) in (top..).zip(mask.coverage.chunks_exact(mask.width)) {
            for (column, &alpha) in (left..).zip(line) {
                if let (Ok(column), Ok(row)) = (usize::try_from(column), usize::try_from(row))
                    && column < self.width
                    && row < self.height
                {
                    self.dot(column, row, colour, u32::from(alpha));
                }
            }
        }
    }

    /// Mean luma of a rectangle, 16 to 235; what a test looks at.
    #[cfg(test)]
    pub fn brightness(&self, area: Area) -> f32 {
        let (columns, rows) = self.pixels(area, f32::floor, f32::ceil).expect("an area inside the picture");
        let (mut sum, count) = (0, columns.len() * rows.len());
        for row in rows {
            sum += self.luma[row * self.width..][columns.clone()].iter().map(|&y| u64::from(y)).sum::<u64>();
        }
        sum as f32 / count as f32
    }

    fn dot(&mut self, column: usize, row: usize, colour: Colour, alpha: u32) {
        if alpha == 0 {
            return;
        }
        let luma = &mut self.luma[row * self.width + column];
        *luma = blend(*luma, colour.y, alpha);
        // One chroma sample serves four pixels; the upper left one speaks for them.
        if column.is_multiple_of(2) && row.is_multiple_of(2) {
            let at = row / 2 * (self.width / 2) + column / 2;
            let [u, v] = &mut self.chroma;
            u[at] = blend(u[at], colour.u, alpha);
            v[at] = blend(v[at], colour.v, alpha);
        }
    }

    /// The pixels of `area` inside the picture, as columns and rows; `low` and `high` round the edges.
    fn pixels(
        &self,
        area: Area,
        low: impl Fn(f32) -> f32,
        high: impl Fn(f32) -> f32,
    ) -> Option<(Range<usize>, Range<usize>)> {
        let cut = |from: f32, len: f32, corner: f32, max: usize| {
            // A float beyond what an integer holds becomes its nearest.
            let end = (high((from + len) * self.scale + corner) as usize).min(max);
            let start = (low(from * self.scale + corner) as usize).min(end);
            (start < end).then_some(start..end)
        };
        let columns = cut(area.x, area.width, self.corner.0, self.width)?;
        Some((columns, cut(area.y, area.height, self.corner.1, self.height)?))
    }
}

impl YUVSource for Canvas {
    fn dimensions(&self) -> (usize, usize) {
        (self.width, self.height)
    }

    fn strides(&self) -> (usize, usize, usize) {
        (self.width, self.width / 2, self.width / 2)
    }

    fn y(&self) -> &[u8] {
        &self.luma
    }

    fn u(&self) -> &[u8] {
        &self.chroma[0]
    }

    fn v(&self) -> &[u8] {
        &self.chroma[1]
    }
}

/// A part from 0 to 1 as 0 to 255.
fn to_alpha(part: f32) -> u32 {
    (part.clamp(0.0, 1.0) * 255.0 + 0.5) as u32
}

/// `under` with `alpha` of 255 parts of `over`.
fn blend(under: u8, over: u8, alpha: u32) -> u8 {
    ((u32::from(under) * (255 - alpha) + u32::from(over) * alpha + 127) / 255) as u8
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_colours_of_bt_709_are_the_textbooks() {
        assert_eq!(Colour::rgb(0xFFFFFF), Colour { y: 235, u: 128, v: 128 });
        assert_eq!(Colour::rgb(0x000000), Colour { y: 16, u: 128, v: 128 });
        assert_eq!(Colour::rgb(0xFF0000), Colour { y: 63, u: 102, v: 240 });
        assert_eq!(Colour::rgb(0x0000FF), Colour { y: 32, u: 240, v: 118 });
    }

    #[test]
    fn what_is_drawn_outside_is_cut_off() {
        let mut canvas = Canvas::new(640, 360, Colour::rgb(0));
        let white = Colour::rgb(0xFFFFFF);
        let area = |x: f32, y: f32, width: f32, height: f32| Area { x, y, width, height };
        canvas.fill(area(-10.0, -10.0, 12.0, 12.0), white);
        canvas.fill(area(638.0, 358.0, 100.0, f32::MAX), white);
        canvas.fill(area(1_000.0, 100.0, 10.0, 10.0), white);
        canvas.disc((-3.0, 400.0), 8.0, white);
        canvas.stamp(638.0, 355.0, &Mask::letter(&canvas, 'W', 3.0, 1.0), white);
        canvas.stamp(-9.0, -9.0, &Mask::letter(&canvas, 'W', 3.0, 1.0), white);
        assert!(canvas.brightness(area(0.0, 0.0, 2.0, 2.0)) > 200.0);
        assert_eq!(canvas.brightness(area(20.0, 4.0, 600.0, 340.0)), 16.0);
    }

    #[test]
    fn the_sheet_lies_in_the_middle_at_every_size() {
        for (width, height) in [(640, 360), (64, 64), (1_920, 1_080), (360, 640), (101, 77)] {
            let mut canvas = Canvas::new(width, height, Colour::rgb(0));
            canvas.disc((320.0, 180.0), 90.0, Colour::rgb(0xFFFFFF));
            let at = |x: usize, y: usize| canvas.luma[y.min(canvas.height - 1) * canvas.width + x];
            assert_eq!(at(canvas.width / 2, canvas.height / 2), 235, "{width}x{height}");
            assert_eq!((at(0, 0), at(canvas.width - 1, canvas.height - 1)), (16, 16), "{width}x{height}");
        }
    }

    #[test]
    fn a_letter_is_drawn_at_every_size() {
        let canvas = Canvas::new(640, 360, Colour::rgb(0));
        for scale in [1.0, 1.5, 2.0, 7.0] {
            let mask = Mask::letter(&canvas, 'E', scale, 1.0);
            let inked = mask.coverage.iter().filter(|&&alpha| alpha > 127).count() as f32;
            let cells = inked / (scale * scale);
            assert!((12.0..24.0).contains(&cells), "{cells} cells at {scale}");
        }
    }
}
