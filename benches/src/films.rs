//! The documents: films, the real ones where the data set is at hand, else ones of the same shape from a fixed seed.

use std::io::{BufRead, BufReader};

use bson::raw::cstr;
use bson::{RawBson, RawDocumentBuf, rawdoc};
use flate2::read::GzDecoder;

/// How many films stand on one shelf: what a find of one shelf gives.
pub const SHELF_FILMS: usize = 100;

/// Where the data set lies, seen from this package.
const DATA_SET: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../shared/data/movies.jsonl.gz");

/// A document and its number, which is its `_id`.
#[derive(Debug, Clone)]
pub struct Film {
    /// The `_id`.
    pub id: i32,
    /// The whole, as BSON.
    pub document: RawDocumentBuf,
}

impl Film {
    /// The same film with another `_id`.
    ///
    /// # Panics
    /// If the document is no BSON.
    #[must_use]
    pub fn renumbered(&self, id: i32) -> Self {
        let mut document = RawDocumentBuf::new();
        document.append(cstr!("_id"), id);
        for element in self.document.iter_elements().skip(1) {
            let element = element.expect("a field");
            document.append(element.key(), RawBson::from(element.value().expect("a value")));
        }
        Self { id, document }
    }
}

/// Where the films come from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FilmSource {
    /// The data set.
    DataSet,
    /// A fixed seed.
    Seed,
}

/// How much of a film to keep.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Weight {
    /// All, about 750 bytes on average.
    Whole,
    /// Without its summary and picture, cut or filled to about 300 bytes.
    Light,
}

/// What a line of the data set holds that is used here.
struct Parts {
    title: String,
    year: i32,
    cast: Vec<String>,
    genres: Vec<String>,
    href: String,
    extract: String,
    thumbnail: String,
}

/// Where [`films`] takes them from.
pub fn film_source() -> FilmSource {
    if std::path::Path::new(DATA_SET).exists() { FilmSource::DataSet } else { FilmSource::Seed }
}

/// The first `count` films; numbers go on where the data set ends. 100 share a shelf, wherever they stand in the order.
///
/// # Panics
/// If the data set is there and cannot be read.
pub fn films(count: usize, weight: Weight) -> Vec<Film> {
    let parts = match film_source() {
        FilmSource::DataSet => from_data_set(count),
        FilmSource::Seed => from_seed(count),
    };
    let shelves = count.div_ceil(SHELF_FILMS).max(1);
    let film = |(number, parts): (usize, &Parts)| {
        let id = i32::try_from(number).expect("films are few");
        let shelf = i32::try_from(number % shelves).expect("shelves are few");
        Film { id, document: document(id, shelf, parts, weight) }
    };
    parts.iter().cycle().take(count).enumerate().map(film).collect()
}

fn document(id: i32, shelf: i32, parts: &Parts, weight: Weight) -> RawDocumentBuf {
    let array = |texts: &[String]| {
        let mut array = bson::RawArrayBuf::new();
        for text in texts {
            array.push(text.as_str());
        }
        array
    };
    if weight == Weight::Light {
        let cast: Vec<String> = parts.cast.iter().take(3).cloned().collect();
        let plot: String = parts.extract.chars().chain(std::iter::repeat('.')).take(118).collect();
        return rawdoc! {
            "_id": id, "title": parts.title.as_str(), "year": parts.year, "shelf": shelf,
            "cast": array(&cast), "href": parts.href.as_str(), "plot": plot, "seen": 0_i64,
        };
    }
    rawdoc! {
        "_id": id, "title": parts.title.as_str(), "year": parts.year, "shelf": shelf,
        "cast": array(&parts.cast), "genres": array(&parts.genres), "href": parts.href.as_str(),
        "extract": parts.extract.as_str(), "thumbnail": parts.thumbnail.as_str(),
        "thumbnail_width": 263, "thumbnail_height": 380, "seen": 0_i64,
    }
}

fn from_data_set(count: usize) -> Vec<Parts> {
    let file = std::fs::File::open(DATA_SET).expect("the data set is there");
    let lines = BufReader::new(GzDecoder::new(file)).lines().take(count);
    lines.map(|line| parse(&line.expect("the data set is readable"))).collect()
}

fn parse(line: &str) -> Parts {
    let film: serde_json::Value = serde_json::from_str(line).expect("a line is a JSON object");
    let text = |name: &str| film.get(name).and_then(|value| value.as_str()).unwrap_or_default().to_owned();
    let texts = |name: &str| {
        let values = film.get(name).and_then(|value| value.as_array()).into_iter().flatten();
        values.filter_map(|value| value.as_str()).map(str::to_owned).collect()
    };
    let year = film.get("year").and_then(serde_json::Value::as_i64).unwrap_or_default();
    Parts {
        title: text("title"),
        year: i32::try_from(year).unwrap_or_default(),
        cast: texts("cast"),
        genres: texts("genres"),
        href: text("href"),
        extract: text("extract"),
        thumbnail: text("thumbnail"),
    }
}

fn from_seed(count: usize) -> Vec<Parts> {
    let mut seed = Seed(2_463_534_242);
    (0..count).map(|_| seed.parts()).collect()
}

/// Xorshift: the same films on every machine.
struct Seed(u64);

impl Seed {
    fn below(&mut self, end: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % end
    }

    fn words(&mut self, count: u64) -> String {
        const SYLLABLES: [&str; 16] = [
            "ar", "bel", "cor", "dan", "el", "fro", "gal", "hir", "in", "jo", "kel", "lu", "mar", "no", "os",
            "ter",
        ];
        let mut text = String::new();
        for word in 0..count {
            if word > 0 {
                text.push(' ');
            }
            for _ in 0..=self.below(3) {
                text.push_str(SYLLABLES[self.below(16) as usize]);
            }
        }
        text
    }

    fn list(&mut self, most: u64, words: u64) -> Vec<String> {
        (0..=self.below(most)).map(|_| self.words(words)).collect()
    }

    fn parts(&mut self) -> Parts {
        let title_words = 1 + self.below(4);
        let title = self.words(title_words);
        let extract_words = 20 + self.below(80);
        Parts {
            href: title.replace(' ', "_"),
            year: 1_900 + self.below(124) as i32,
            cast: self.list(8, 2),
            genres: self.list(3, 1),
            extract: self.words(extract_words),
            thumbnail: format!("https://example.org/{}.jpg", title.replace(' ', "-")),
            title,
        }
    }
}
