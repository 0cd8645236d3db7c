//! A picture in memory, planar YUV 4:2:0 (BT.709, limited range), and the few ways of drawing on it.
//!
//! Every soft shape is a coverage between 0 and 1 at the middle of a pixel, blended over what is there. Nothing drawn
//! outside the picture is an error: it is cut off. Units are pixels, from the upper left corner.

use openh264::formats::YUVSource;

use super::font;

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

/// A rectangle of pixels; may reach out of the picture.
#[derive(Clone, Copy, Debug)]
pub struct Area {
    pub x: i32,
    pub y: i32,
    pub width: i32,
    pub height: i32,
}

impl Area {
    /// The pixels that a shape of `reach` around a segment may touch.
    pub fn around(from: (f32, f32), to: (f32, f32), reach: f32) -> Self {
        let (left, right) = (from.0.min(to.0) - reach, from.0.max(to.0) + reach);
        let (top, bottom) = (from.1.min(to.1) - reach, from.1.max(to.1) + reach);
        let (x, y) = (left.floor() as i32, top.floor() as i32);
        Self { x, y, width: right.ceil() as i32 - x, height: bottom.ceil() as i32 - y }
    }
}

/// How much of each pixel a shape covers, worked out once and stamped often.
#[derive(Clone, Debug, Default)]
pub struct Mask {
    width: usize,
    coverage: Vec<u8>,
    /// Pixels from this letter's left edge to the next one's.
    pub advance: f32,
}

impl Mask {
    /// One letter with `scale` pixels to a font cell and strokes of `weight` cells.
    pub fn letter(letter: char, scale: f32, weight: f32) -> Self {
        let glyph = font::Glyph::of(letter);
        let (width, height) =
            ((glyph.advance() * scale).ceil() as usize, (font::HEIGHT * scale).ceil() as usize);
        let mut coverage = Vec::with_capacity(width * height);
        for row in 0..height {
            for column in 0..width {
                let distance = glyph.distance((column as f32 + 0.5) / scale, (row as f32 + 0.5) / scale);
                coverage.push(to_alpha((weight / 2.0 - distance) * scale + 0.5) as u8);
            }
        }
        Self { width, coverage, advance: glyph.advance() * scale }
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
}

impl Canvas {
    /// A picture of one colour; odd sizes are rounded down to even ones.
    pub fn new(width: usize, height: usize, colour: Colour) -> Self {
        let (width, height) = (width & !1, height & !1);
        let (pixels, quarter) = (width * height, width * height / 4);
        Self {
            width,
            height,
            luma: vec![colour.y; pixels],
            chroma: [vec![colour.u; quarter], vec![colour.v; quarter]],
        }
    }

    /// Takes over another picture, which must have the same size.
    pub fn copy_from(&mut self, other: &Self) {
        self.luma.copy_from_slice(&other.luma);
        for (into, from) in self.chroma.iter_mut().zip(&other.chroma) {
            into.copy_from_slice(from);
        }
    }

    /// Fills a rectangle whose edges are even.
    pub fn fill(&mut self, area: Area, colour: Colour) {
        let Some((columns, rows)) = self.cut(area) else {
            return;
        };
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

    /// Blends `colour` over each pixel of `area` as far as `coverage` says for the pixel's middle.
    pub fn shade(&mut self, area: Area, colour: Colour, coverage: impl Fn(f32, f32) -> f32) {
        let Some((columns, rows)) = self.cut(area) else {
            return;
        };
        for row in rows {
            for column in columns.clone() {
                let alpha = to_alpha(coverage(column as f32 + 0.5, row as f32 + 0.5));
                self.dot(column, row, colour, alpha);
            }
        }
    }

    /// A line with round ends.
    pub fn line(&mut self, from: (f32, f32), to: (f32, f32), thickness: f32, colour: Colour) {
        let radius = thickness / 2.0;
        self.shade(Area::around(from, to, radius + 1.0), colour, |x, y| {
            radius + 0.5 - font::to_segment((x, y), from, to)
        });
    }

    /// A disc.
    pub fn disc(&mut self, middle: (f32, f32), radius: f32, colour: Colour) {
        self.line(middle, middle, radius * 2.0, colour);
    }

    /// Stamps a mask with its upper left corner at `x`, `y`.
    pub fn stamp(&mut self, x: i32, y: i32, mask: &Mask, colour: Colour) {
        if mask.width == 0 {
            return;
        }
        for (row, line) in (y..).zip(mask.coverage.chunks_exact(mask.width)) {
            for (column, &alpha) in (x..).zip(line) {
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
        let (columns, rows) = self.cut(area).expect("an area inside the picture");
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

    /// The part of `area` inside the picture, as columns and rows.
    fn cut(&self, area: Area) -> Option<(std::ops::Range<usize>, std::ops::Range<usize>)> {
        let cut = |from: i32, len: i32, max: usize| {
            let end = usize::try_from(from.saturating_add(len)).unwrap_or(0).min(max);
            let start = usize::try_from(from).unwrap_or(0).min(end);
            (start < end).then_some(start..end)
        };
        Some((cut(area.x, area.width, self.width)?, cut(area.y, area.height, self.height)?))
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
        let mut canvas = Canvas::new(32, 16, Colour::rgb(0));
        let white = Colour::rgb(0xFFFFFF);
        canvas.fill(Area { x: -10, y: -10, width: 12, height: 12 }, white);
        canvas.fill(Area { x: 30, y: 14, width: 100, height: i32::MAX }, white);
        canvas.fill(Area { x: 100, y: 100, width: 10, height: 10 }, white);
        canvas.disc((-3.0, 40.0), 8.0, white);
        canvas.stamp(28, 12, &Mask::letter('W', 3.0, 1.0), white);
        canvas.stamp(-9, -9, &Mask::letter('W', 3.0, 1.0), white);
        assert!(canvas.brightness(Area { x: 0, y: 0, width: 2, height: 2 }) > 200.0);
        assert_eq!(canvas.brightness(Area { x: 12, y: 4, width: 8, height: 4 }), 16.0);
    }

    #[test]
    fn a_letter_is_drawn_at_every_size() {
        for scale in [1.0, 1.5, 2.0, 7.0] {
            let mask = Mask::letter('E', scale, 1.0);
            let inked = mask.coverage.iter().filter(|&&alpha| alpha > 127).count() as f32;
            let cells = inked / (scale * scale);
            assert!((12.0..24.0).contains(&cells), "{cells} cells at {scale}");
        }
    }
}
