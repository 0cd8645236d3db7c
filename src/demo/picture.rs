//! The demo's moving test picture: a running clock, a dial that flashes at each full second, a wave and colour bars.
//!
//! What never changes is drawn once, as the plate; each picture is a copy of it with the moving parts on top. A picture
//! is a function of its [`WallTick`] alone, so the flash falls exactly on the second. Places are in units of the sheet
//! that the canvas lays over the picture.

use std::{collections::HashMap, f32::consts::TAU};

use super::canvas::{Area, Canvas, Colour, Mask, SHEET};

/// What is drawn.
#[derive(Clone, Debug)]
pub struct Design {
    /// The stream's name, told in the picture.
    pub name: String,
    /// Pixels, even.
    pub width: u32,
    /// Pixels, even.
    pub height: u32,
    /// Pictures a second.
    pub rate: u32,
}

/// A moment of the wall clock: pictures since 1970 (UTC), and how many make a second.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WallTick {
    /// Pictures since 1970.
    pub count: i64,
    /// Pictures a second.
    pub rate: u32,
}

impl WallTick {
    /// The last tick that is not after `micros`, microseconds since 1970.
    pub fn from_micros(micros: i64, rate: u32) -> Self {
        let rate = rate.max(1);
        Self { count: (i128::from(micros) * i128::from(rate)).div_euclid(1_000_000) as i64, rate }
    }

    /// So many pictures later.
    pub fn after(self, pictures: i64) -> Self {
        Self { count: self.count.saturating_add(pictures), ..self }
    }

    /// Pictures since the full second, below the rate.
    pub fn phase(self) -> i64 {
        self.count.rem_euclid(i64::from(self.rate))
    }

    /// Whether this picture is lit: the first 100 ms of each second are, long enough to see on any screen.
    pub fn flashes(self) -> bool {
        self.phase() * 10 < i64::from(self.rate)
    }

    /// How much of the second has passed, from 0 to 1.
    fn part(self) -> f32 {
        self.phase() as f32 / self.rate as f32
    }

    /// Seconds since the last time that `seconds` divided the clock's.
    fn within(self, seconds: i64) -> f32 {
        self.count.rem_euclid(seconds * i64::from(self.rate)) as f32 / self.rate as f32
    }

    /// `HH:MM:SS`, `.mmm` and `YYYY-MM-DD`.
    fn spell(self) -> (String, String, String) {
        let seconds = self.count.div_euclid(i64::from(self.rate));
        let of_day = seconds.rem_euclid(86_400);
        let clock = format!("{:02}:{:02}:{:02}", of_day / 3_600, of_day / 60 % 60, of_day % 60);
        let (year, month, day) = civil(seconds.div_euclid(86_400));
        (
            clock,
            format!(".{:03}", self.phase() * 1_000 / i64::from(self.rate)),
            format!("{year:04}-{month:02}-{day:02}"),
        )
    }
}

/// Year, month and day of the Gregorian calendar, `days` after 1970-01-01.
fn civil(days: i64) -> (i64, i64, i64) {
    // Counted from 0000-03-01, so that the leap day is the last of its year, in eras of 400 years (146,097 days).
    let days = days + 719_468;
    let (era, of_era) = (days.div_euclid(146_097), days.rem_euclid(146_097));
    let year_of_era = (of_era - of_era / 1_460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let march_month = (5 * of_year + 2) / 153;
    let day = of_year - (153 * march_month + 2) / 5 + 1;
    let month = if march_month < 10 { march_month + 3 } else { march_month - 9 };
    (era * 400 + year_of_era + i64::from(month <= 2), month, day)
}

const INK: Colour = Colour::rgb(0xF2F5FA);
const FAINT: Colour = Colour::rgb(0x8D9BB5);
const EDGE: Colour = Colour::rgb(0x2B3754);
const ACCENT: Colour = Colour::rgb(0x34D3C2);
const VIOLET: Colour = Colour::rgb(0x8B7BFF);
const LIT: Colour = Colour::rgb(0xFFC247);

/// The 75 % bars, as every test signal since the 1950s orders them.
const BARS: [u32; 7] = [0xBFBFBF, 0xBFBF00, 0x00BFBF, 0x00BF00, 0xBF00BF, 0xBF0000, 0x0000BF];
const BARS_Y: f32 = 288.0;
const RAMP_Y: f32 = 336.0;

const MARGIN: f32 = 32.0;
const DIAL: (f32, f32) = (550.0, 146.0);
const DIAL_RADIUS: f32 = 46.0;
/// The strip that the wave runs in.
const WAVE: Area = Area { x: 0.0, y: 218.0, width: SHEET.0, height: 62.0 };

/// A size of letters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Size {
    Small,
    Title,
    Fraction,
    Clock,
}

impl Size {
    /// Units to a font cell, and the strokes' weight in cells.
    const fn scale(self) -> (f32, f32) {
        match self {
            Self::Small => (1.75, 0.95),
            Self::Title => (4.0, 1.15),
            Self::Fraction => (5.0, 0.95),
            Self::Clock => (8.5, 1.05),
        }
    }
}

/// Where text is held.
enum Hold {
    Left(f32),
    Right(f32),
}

/// Draws the pictures.
pub struct Picture {
    plate: Canvas,
    canvas: Canvas,
    letters: Letters,
}

impl Picture {
    /// Draws the plate.
    pub fn new(design: &Design) -> Self {
        let mut letters = Letters::default();
        let plate = plate(design, &mut letters);
        Self { canvas: plate.clone(), plate, letters }
    }

    /// The picture for `tick`; `number` counts pictures since the stream began.
    pub fn draw(&mut self, tick: WallTick, number: u64) -> &Canvas {
        let canvas = &mut self.canvas;
        canvas.copy_from(&self.plate);

        let (clock, fraction, date) = tick.spell();
        let right = self.letters.write(canvas, Hold::Left(MARGIN), 104.0, Size::Clock, INK, &clock);
        self.letters.write(canvas, Hold::Left(right + 2.0), 128.5, Size::Fraction, ACCENT, &fraction);
        self.letters.write(canvas, Hold::Left(MARGIN), 190.0, Size::Small, FAINT, &format!("{date} UTC"));
        self.letters.write(
            canvas,
            Hold::Right(470.0),
            190.0,
            Size::Small,
            FAINT,
            &format!("frame {number:07}"),
        );

        canvas.line((MARGIN + 2.0, 176.0), (MARGIN + 2.0 + 434.0 * tick.part(), 176.0), 4.0, ACCENT);
        dial(canvas, tick);
        wave(canvas, tick);

        // The marker crosses the grey ramp once in four seconds: uneven pacing shows here first.
        let marker = (8.0 + tick.within(4) / 4.0 * (SHEET.0 - 16.0), RAMP_Y + 12.0);
        canvas.disc(marker, 8.0, Colour::rgb(0x0B1020));
        canvas.disc(marker, 6.0, LIT);
        canvas
    }
}

/// A hand that turns once a second, and the flash.
fn dial(canvas: &mut Canvas, tick: WallTick) {
    let part = tick.part();
    if tick.flashes() {
        canvas.disc(DIAL, DIAL_RADIUS - 5.0, LIT);
        frame(canvas, LIT);
    }
    let hand_colour = if tick.flashes() { Colour::rgb(0x0B1020) } else { INK };
    let tip =
        |turn: f32, reach: f32| (DIAL.0 + reach * (TAU * turn).sin(), DIAL.1 - reach * (TAU * turn).cos());
    if !tick.flashes() {
        // Where the hand was, fading out.
        for ghost in (1..=8).rev() {
            let fade = Colour::rgb(0x141C30).mix(ACCENT, 0.55 * (1.0 - ghost as f32 / 9.0));
            canvas.line(
                tip(part - ghost as f32 / 60.0, 12.0),
                tip(part - ghost as f32 / 60.0, 35.0),
                3.0,
                fade,
            );
        }
    }
    canvas.line(DIAL, tip(part, 36.0), 4.0, hand_colour);
    canvas.disc(DIAL, 6.0, hand_colour);
}

/// Four bars along the sheet's edges.
fn frame(canvas: &mut Canvas, colour: Colour) {
    let ((width, height), thick) = (SHEET, 6.0);
    canvas.fill(Area { x: 0.0, y: 0.0, width, height: thick }, colour);
    canvas.fill(Area { x: 0.0, y: height - thick, width, height: thick }, colour);
    canvas.fill(Area { x: 0.0, y: 0.0, width: thick, height }, colour);
    canvas.fill(Area { x: width - thick, y: 0.0, width: thick, height }, colour);
}

/// A ribbon that swells with the bell and calms down until the next one.
fn wave(canvas: &mut Canvas, tick: WallTick) {
    let (time, part) = (tick.within(60), tick.part());
    let swell = 6.0 + 20.0 * (-part * 4.0).exp() * (part * 30.0).min(1.0);
    let middle = WAVE.y + WAVE.height / 2.0;
    for (shift, thickness, colour) in [(1.7, 1.6, VIOLET), (0.0, 2.6, ACCENT)] {
        let line: Vec<f32> = (0..=SHEET.0 as usize)
            .map(|x| {
                let along = x as f32 / SHEET.0;
                let envelope = (TAU * 0.5 * along).sin();
                let turn = 3.0 * along - 0.5 * time;
                middle
                    + envelope
                        * swell
                        * (TAU * turn + shift).sin()
                        * (0.7 + 0.3 * (TAU * 2.0 * along + shift).cos())
            })
            .collect();
        canvas.shade(WAVE, colour, |x, y| {
            let at = x as usize;
            let (Some(here), Some(next)) = (line.get(at), line.get(at + 1)) else { return -1.0 };
            // A steep line is farther up and down than across: the slope evens its thickness out.
            let slope = next - here;
            thickness / 2.0 - (y - here - slope * x.fract()).abs() / (1.0 + slope * slope).sqrt()
        });
    }
}

/// Everything that stands still.
fn plate(design: &Design, letters: &mut Letters) -> Canvas {
    let (top, bottom) = (Colour::rgb(0x1A2440), Colour::rgb(0x0B1020));
    let mut canvas = Canvas::new(design.width as usize, design.height as usize, bottom);
    for step in 0..144u8 {
        let (y, height) = (f32::from(step) * 2.0, 2.0);
        canvas.fill(Area { x: 0.0, y, width: SHEET.0, height }, top.mix(bottom, y / BARS_Y));
    }

    // The mark: three shards of one pane.
    for (index, colour) in (0..).zip([ACCENT, Colour::rgb(0x5AA9F0), VIOLET]) {
        let x = MARGIN + 4.0 + 11.0 * index as f32;
        canvas.line((x, 58.0 - 4.0 * index as f32), (x + 6.0, 34.0 + 4.0 * index as f32), 7.0, colour);
    }
    letters.write(&mut canvas, Hold::Left(84.0), 32.0, Size::Title, INK, "Shardcast");
    let right = SHEET.0 - MARGIN;
    letters.write(&mut canvas, Hold::Right(right), 32.0, Size::Small, INK, &design.name);
    let shape = format!("{}x{} {} fps H.264 + AAC", design.width, design.height, design.rate);
    letters.write(&mut canvas, Hold::Right(right), 50.0, Size::Small, FAINT, &shape);

    canvas.line((MARGIN + 2.0, 176.0), (MARGIN + 436.0, 176.0), 4.0, EDGE);
    canvas.disc(DIAL, DIAL_RADIUS, EDGE);
    canvas.disc(DIAL, DIAL_RADIUS - 3.0, Colour::rgb(0x141C30));
    for mark in 0..12 {
        let turn = TAU * mark as f32 / 12.0;
        let at = |reach: f32| (DIAL.0 + reach * turn.sin(), DIAL.1 - reach * turn.cos());
        canvas.line(
            at(DIAL_RADIUS + 4.0),
            at(DIAL_RADIUS + if mark % 3 == 0 { 9.0 } else { 6.0 }),
            2.0,
            FAINT,
        );
    }

    let strip = |canvas: &mut Canvas, index: usize, of: usize, (y, end): (f32, f32), rgb: u32| {
        let width = SHEET.0 / of as f32;
        canvas.fill(Area { x: index as f32 * width, y, width, height: end - y }, Colour::rgb(rgb));
    };
    for (index, rgb) in BARS.into_iter().enumerate() {
        strip(&mut canvas, index, BARS.len(), (BARS_Y, RAMP_Y), rgb);
    }
    // Thirty-two steps from black to white.
    for (index, step) in (0..32u32).enumerate() {
        strip(&mut canvas, index, 32, (RAMP_Y, SHEET.1), step * 255 / 31 * 0x01_01_01);
    }
    canvas
}

/// Letters drawn once for each size.
#[derive(Default)]
struct Letters {
    masks: HashMap<(char, Size), Mask>,
}

impl Letters {
    /// Writes `text` with its top at `y`; returns where the next letter would stand.
    fn write(
        &mut self,
        canvas: &mut Canvas,
        hold: Hold,
        y: f32,
        size: Size,
        colour: Colour,
        text: &str,
    ) -> f32 {
        let (scale, weight) = size.scale();
        for letter in text.chars() {
            let draw = || Mask::letter(canvas, letter, scale, weight);
            self.masks.entry((letter, size)).or_insert_with(draw);
        }
        let letters = || text.chars().filter_map(|letter| self.masks.get(&(letter, size)));
        let mut x = match hold {
            Hold::Left(left) => left,
            // The last letter's gap does not count.
            Hold::Right(right) => right + scale - letters().map(|mask| mask.advance).sum::<f32>(),
        };
        for mask in letters() {
            canvas.stamp(x, y, mask, colour);
            x += mask.advance;
        }
        x
    }
}

#[cfg(test)]
mod tests {
    use openh264::formats::YUVSource;

    use super::*;

    const DIAL_AREA: Area = Area { x: 520.0, y: 120.0, width: 60.0, height: 50.0 };

    fn design(width: u32, height: u32, rate: u32) -> Design {
        Design { name: "live/demo".to_owned(), width, height, rate }
    }

    fn tick(count: i64, rate: u32) -> WallTick {
        WallTick { count, rate }
    }

    #[test]
    fn the_clock_is_spelled_as_a_calendar_would() {
        let spell = |seconds: i64, phase: i64| tick(seconds * 30 + phase, 30).spell();
        let words = |clock: &str, fraction: &str, date: &str| (clock.into(), fraction.into(), date.into());
        assert_eq!(spell(0, 0), words("00:00:00", ".000", "1970-01-01"));
        assert_eq!(spell(951_782_399, 29), words("23:59:59", ".966", "2000-02-28"));
        assert_eq!(spell(951_782_400, 15), words("00:00:00", ".500", "2000-02-29"));
        assert_eq!(spell(1_795_173_296, 1), words("11:14:56", ".033", "2026-11-20"));
    }

    #[test]
    fn the_dial_flashes_with_the_full_second_and_only_then() {
        for (width, height, rate, lit_pictures) in [(640, 360, 30, 3), (1_280, 720, 25, 3), (320, 180, 60, 6)]
        {
            let mut picture = Picture::new(&design(width, height, rate));
            for phase in 0..i64::from(rate) {
                let tick = tick(1_000 * i64::from(rate) + phase, rate);
                let lit = picture.draw(tick, 0).brightness(DIAL_AREA) > 100.0;
                assert_eq!(lit, phase < lit_pictures, "picture {phase} of the second at {rate}");
            }
        }
        assert_eq!(WallTick::from_micros(999_999, 30).phase(), 29);
        assert!(WallTick::from_micros(1_000_000, 30).flashes());
    }

    #[test]
    fn each_picture_differs_from_the_one_before() {
        let mut picture = Picture::new(&design(640, 360, 30));
        let mut last = Vec::new();
        for number in 0..90 {
            let luma = picture.draw(tick(210 + number, 30), number as u64).y().to_vec();
            let moved = luma.iter().zip(&last).filter(|(now, then)| now != then).count();
            assert!(number == 0 || moved > 500, "picture {number}: only {moved} pixels moved");
            last = luma;
        }
    }

    #[test]
    fn any_name_and_size_is_drawn() {
        for name in ["", "live/ünïcode", &"long/".repeat(100)] {
            let named = Design { name: name.to_owned(), ..design(64, 64, 1) };
            Picture::new(&named).draw(tick(i64::MAX / 2, 1), u64::MAX);
        }
        for (width, height) in [(64, 64), (66, 1_080), (1_920, 64), (2, 2), (0, 0)] {
            Picture::new(&design(width, height, 60)).draw(tick(59, 60), 0);
        }
    }
}
