//! The demo picture's own letters: five by seven dots each, joined into strokes.
//!
//! A glyph is a table of dots; [`Glyph::distance`] reads it as round strokes between neighbouring dots, so the same
//! table is sharp at every size. Units are font cells: a letter is at most 5 wide and 7 high. Letters are as wide as their
//! dots, digits are all alike, so that a running number stands still.

/// Cells from the top of a letter to its baseline.
pub const HEIGHT: f32 = 7.0;

const COLUMNS: i32 = 5;
const ROWS: i32 = 7;

/// One letter as strokes: pairs of dots (equal for a lone dot), in cells.
#[derive(Clone, Debug)]
pub struct Glyph {
    strokes: Vec<[(f32, f32); 2]>,
    width: f32,
}

/// Between two letters.
const GAP: f32 = 1.0;
/// A space, its gap included.
const SPACE: f32 = 3.5;

impl Glyph {
    /// The strokes of `letter`; an outlined box for letters that the font lacks, nothing for a space.
    pub fn of(letter: char) -> Self {
        const BOX: &str = "#####|#...#|#...#|#...#|#...#|#...#|#####";
        let dots = match letter {
            ' ' => return Self { strokes: Vec::new(), width: SPACE - GAP },
            _ => DOTS.iter().find(|(known, _)| *known == letter).map_or(BOX, |(_, dots)| dots),
        };
        let rows: Vec<&[u8]> = dots.split('|').map(str::as_bytes).collect();
        let set = |column: i32, row: i32| {
            let (Ok(column), Ok(row)) = (usize::try_from(column), usize::try_from(row)) else {
                return false;
            };
            rows.get(row).and_then(|row| row.get(column)) == Some(&b'#')
        };
        let inked = |column: &i32| (0..ROWS).any(|row| set(*column, row));
        let (first, last) = match letter.is_ascii_digit() {
            true => (0, COLUMNS - 1),
            false => ((0..COLUMNS).find(inked).unwrap_or(0), (0..COLUMNS).rfind(inked).unwrap_or(0)),
        };
        let at = |column: i32, row: i32| ((column - first) as f32 + 0.5, row as f32 + 0.5);

        let mut strokes = Vec::new();
        for row in 0..ROWS {
            for column in (0..COLUMNS).filter(|&column| set(column, row)) {
                let here = at(column, row);
                strokes.push([here, here]);
                for (right, down) in [(1, 0), (0, 1), (1, 1), (-1, 1)] {
                    let (to_column, to_row) = (column + right, row + down);
                    // A diagonal joins two dots only where no corner already does.
                    let corner = right != 0 && down != 0 && (set(to_column, row) || set(column, to_row));
                    if set(to_column, to_row) && !corner {
                        strokes.push([here, at(to_column, to_row)]);
                    }
                }
            }
        }
        Self { strokes, width: (last - first + 1) as f32 }
    }

    /// Cells from this letter's left edge to the next one's.
    pub fn advance(&self) -> f32 {
        self.width + GAP
    }

    /// Cells from the point to the middle of the nearest stroke; infinite where there are none.
    pub fn distance(&self, x: f32, y: f32) -> f32 {
        self.strokes.iter().map(|&[from, to]| to_segment((x, y), from, to)).fold(f32::INFINITY, f32::min)
    }
}

/// From a point to a segment.
pub fn to_segment((x, y): (f32, f32), from: (f32, f32), to: (f32, f32)) -> f32 {
    let (along_x, along_y) = (to.0 - from.0, to.1 - from.1);
    let len2 = along_x * along_x + along_y * along_y;
    let part = match len2 > 0.0 {
        true => (((x - from.0) * along_x + (y - from.1) * along_y) / len2).clamp(0.0, 1.0),
        false => 0.0,
    };
    (x - from.0 - along_x * part).hypot(y - from.1 - along_y * part)
}

#[rustfmt::skip]
const DOTS: &[(char, &str)] = &[
    ('0', ".###.|#...#|#...#|#.#.#|#...#|#...#|.###."),
    ('1', "..#..|.##..|..#..|..#..|..#..|..#..|.###."),
    ('2', ".###.|#...#|....#|...#.|..#..|.#...|#####"),
    ('3', ".###.|#...#|....#|..##.|....#|#...#|.###."),
    ('4', "#...#|#...#|#...#|#####|....#|....#|....#"),
    ('5', "#####|#....|####.|....#|....#|#...#|.###."),
    ('6', ".###.|#....|#....|####.|#...#|#...#|.###."),
    ('7', "#####|....#|....#|...#.|..#..|..#..|..#.."),
    ('8', ".###.|#...#|#...#|.###.|#...#|#...#|.###."),
    ('9', ".###.|#...#|#...#|.####|....#|....#|.###."),
    (':', ".....|.....|..#..|.....|..#..|.....|....."),
    ('.', ".....|.....|.....|.....|.....|.....|..#.."),
    (',', ".....|.....|.....|.....|.....|..#..|.#..."),
    ('-', ".....|.....|.....|.###.|.....|.....|....."),
    ('_', ".....|.....|.....|.....|.....|.....|#####"),
    ('+', ".....|..#..|..#..|#####|..#..|..#..|....."),
    ('=', ".....|.....|.###.|.....|.###.|.....|....."),
    ('/', "....#|....#|...#.|..#..|.#...|#....|#...."),
    ('(', "...#.|..#..|.#...|.#...|.#...|..#..|...#."),
    (')', ".#...|..#..|...#.|...#.|...#.|..#..|.#..."),
    ('A', ".###.|#...#|#...#|#####|#...#|#...#|#...#"),
    ('B', "####.|#...#|#...#|####.|#...#|#...#|####."),
    ('C', ".###.|#...#|#....|#....|#....|#...#|.###."),
    ('D', "####.|#...#|#...#|#...#|#...#|#...#|####."),
    ('E', "#####|#....|#....|####.|#....|#....|#####"),
    ('F', "#####|#....|#....|####.|#....|#....|#...."),
    ('G', ".###.|#...#|#....|#.###|#...#|#...#|.###."),
    ('H', "#...#|#...#|#...#|#####|#...#|#...#|#...#"),
    ('I', ".###.|..#..|..#..|..#..|..#..|..#..|.###."),
    ('J', "....#|....#|....#|....#|#...#|#...#|.###."),
    ('K', "#...#|#..#.|#.#..|##...|#.#..|#..#.|#...#"),
    ('L', "#....|#....|#....|#....|#....|#....|#####"),
    ('M', "#...#|##.##|#.#.#|#...#|#...#|#...#|#...#"),
    ('N', "#...#|##..#|#.#.#|#..##|#...#|#...#|#...#"),
    ('O', ".###.|#...#|#...#|#...#|#...#|#...#|.###."),
    ('P', "####.|#...#|#...#|####.|#....|#....|#...."),
    ('Q', ".###.|#...#|#...#|#...#|#.#.#|#..#.|.##.#"),
    ('R', "####.|#...#|#...#|####.|#.#..|#..#.|#...#"),
    ('S', ".####|#....|#....|.###.|....#|....#|####."),
    ('T', "#####|..#..|..#..|..#..|..#..|..#..|..#.."),
    ('U', "#...#|#...#|#...#|#...#|#...#|#...#|.###."),
    ('V', "#...#|#...#|#...#|#...#|.#.#.|.#.#.|..#.."),
    ('W', "#...#|#...#|#...#|#...#|#.#.#|##.##|#...#"),
    ('X', "#...#|#...#|.#.#.|..#..|.#.#.|#...#|#...#"),
    ('Y', "#...#|#...#|.#.#.|..#..|..#..|..#..|..#.."),
    ('Z', "#####|....#|...#.|..#..|.#...|#....|#####"),
    ('a', ".....|.....|.###.|....#|.####|#...#|.####"),
    ('b', "#....|#....|####.|#...#|#...#|#...#|####."),
    ('c', ".....|.....|.###.|#....|#....|#....|.###."),
    ('d', "....#|....#|.####|#...#|#...#|#...#|.####"),
    ('e', ".....|.....|.###.|#...#|#####|#....|.###."),
    ('f', "..##.|.#...|.#...|###..|.#...|.#...|.#..."),
    ('g', ".....|.###.|#...#|#...#|.####|....#|.###."),
    ('h', "#....|#....|####.|#...#|#...#|#...#|#...#"),
    ('i', "..#..|.....|.##..|..#..|..#..|..#..|.###."),
    ('j', "...#.|.....|..##.|...#.|...#.|#..#.|.##.."),
    ('k', "#....|#....|#..#.|#.#..|##...|#.#..|#..#."),
    ('l', ".##..|..#..|..#..|..#..|..#..|..#..|.###."),
    ('m', ".....|.....|####.|#.#.#|#.#.#|#.#.#|#.#.#"),
    ('n', ".....|.....|####.|#...#|#...#|#...#|#...#"),
    ('o', ".....|.....|.###.|#...#|#...#|#...#|.###."),
    ('p', ".....|.....|####.|#...#|####.|#....|#...."),
    ('q', ".....|.....|.####|#...#|.####|....#|....#"),
    ('r', ".....|.....|#.##.|##...|#....|#....|#...."),
    ('s', ".....|.....|.####|#....|.###.|....#|####."),
    ('t', ".#...|.#...|###..|.#...|.#...|.#...|..##."),
    ('u', ".....|.....|#...#|#...#|#...#|#...#|.####"),
    ('v', ".....|.....|#...#|#...#|#...#|.#.#.|..#.."),
    ('w', ".....|.....|#...#|#...#|#.#.#|#.#.#|.#.#."),
    ('x', ".....|.....|#...#|.#.#.|..#..|.#.#.|#...#"),
    ('y', ".....|#...#|#...#|#...#|.####|....#|.###."),
    ('z', ".....|.....|#####|...#.|..#..|.#...|#####"),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_glyph_has_seven_rows_of_five_dots() {
        for (letter, dots) in DOTS {
            let rows: Vec<_> = dots.split('|').collect();
            assert_eq!(rows.len(), 7, "{letter}");
            assert!(rows.iter().all(|row| row.len() == 5), "{letter}");
            assert!(dots.contains('#'), "{letter}");
        }
    }

    #[test]
    fn dots_are_joined_along_their_neighbours() {
        let dash = Glyph::of('-');
        assert_eq!(dash.distance(1.5, 3.5), 0.0, "on a dot");
        assert_eq!(dash.distance(1.0, 3.5), 0.0, "between two dots");
        assert_eq!(dash.distance(1.0, 5.5), 2.0);
        assert!(Glyph::of(' ').distance(2.5, 3.5).is_infinite());
        assert_eq!((dash.advance(), Glyph::of('1').advance(), Glyph::of('8').advance()), (4.0, 6.0, 6.0));
        assert_eq!(Glyph::of('é').distance(0.5, 0.5), 0.0, "what the font lacks is a box");
    }
}
