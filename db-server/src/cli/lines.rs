//! The lines of a file to import: plain or gzip, from a path or stdin, with the length of a line bounded.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Read};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use flate2::bufread::MultiGzDecoder;

/// The longest line, in bytes: a document of the largest size as Extended JSON, with room to spare.
const LINE_BYTES_MAX: u64 = 64 * 1024 * 1024;

/// A reader of lines that counts them.
pub(crate) struct Lines {
    reader: Box<dyn BufRead + Send>,
    number: u64,
}

/// A line that is not empty.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Line {
    /// Its number, from 1.
    pub(crate) number: u64,
    /// Its text without the line's end; `None` if it is not UTF-8.
    pub(crate) text: Option<String>,
}

/// How far a file has been read, for a progress bar.
pub(crate) struct Extent {
    /// The file's size in bytes as it lies on the disk; unknown for stdin.
    pub(crate) bytes: Option<u64>,
    /// How many of them have been read.
    pub(crate) read: Arc<AtomicU64>,
}

impl Lines {
    /// Opens a file, or stdin for `-`. Whether it is gzip is seen from its first bytes.
    ///
    /// # Errors
    /// If it cannot be opened or its beginning not be read.
    pub(crate) fn open(path: &Path) -> io::Result<(Self, Extent)> {
        let read = Arc::new(AtomicU64::new(0));
        if path == Path::new("-") {
            let lines = Self::read(Counted { inner: io::stdin(), read: Arc::clone(&read) })?;
            return Ok((lines, Extent { bytes: None, read }));
        }
        let file = File::open(path)?;
        let metadata = file.metadata()?;
        if metadata.is_dir() {
            return Err(io::Error::new(io::ErrorKind::IsADirectory, "is a directory"));
        }
        let bytes = metadata.is_file().then_some(metadata.len());
        let lines = Self::read(Counted { inner: file, read: Arc::clone(&read) })?;
        Ok((lines, Extent { bytes, read }))
    }

    fn read(source: impl Read + Send + 'static) -> io::Result<Self> {
        let mut plain = BufReader::with_capacity(256 * 1024, source);
        let gzip = plain.fill_buf()?.starts_with(&[0x1f, 0x8b]);
        let reader: Box<dyn BufRead + Send> =
            if gzip { Box::new(BufReader::new(MultiGzDecoder::new(plain))) } else { Box::new(plain) };
        Ok(Self { reader, number: 0 })
    }

    /// The next line that is not empty; `None` at the end.
    ///
    /// # Errors
    /// If reading fails, the gzip is damaged, or a line has no end within the bound.
    pub(crate) fn next(&mut self) -> io::Result<Option<Line>> {
        loop {
            let mut bytes = Vec::new();
            (&mut self.reader).take(LINE_BYTES_MAX + 1).read_until(b'\n', &mut bytes)?;
            if bytes.is_empty() {
                return Ok(None);
            }
            self.number += 1;
            if bytes.len() as u64 > LINE_BYTES_MAX {
                let message = format!("line {} is longer than {LINE_BYTES_MAX} bytes", self.number);
                return Err(io::Error::new(io::ErrorKind::InvalidData, message));
            }
            let text = String::from_utf8(bytes).ok();
            let text = text.map(|text| text.trim_start_matches('\u{feff}').trim().to_owned());
            if text.as_deref() != Some("") {
                return Ok(Some(Line { number: self.number, text }));
            }
        }
    }
}

/// Counts what is read through it.
struct Counted<R> {
    inner: R,
    read: Arc<AtomicU64>,
}

impl<R: Read> Read for Counted<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.inner.read(buffer)?;
        self.read.fetch_add(count as u64, Ordering::Relaxed);
        Ok(count)
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use flate2::{Compression, write::GzEncoder};

    use super::*;

    fn lines(bytes: impl Into<Vec<u8>>) -> Vec<(u64, Option<String>)> {
        let mut lines = Lines::read(io::Cursor::new(bytes.into())).unwrap();
        let mut all = Vec::new();
        while let Some(line) = lines.next().unwrap() {
            all.push((line.number, line.text));
        }
        all
    }

    fn gzip(text: &[u8]) -> Vec<u8> {
        let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
        encoder.write_all(text).unwrap();
        encoder.finish().unwrap()
    }

    #[test]
    fn empty_lines_are_left_out_and_still_counted() {
        let expected = [(1, Some("{}".to_owned())), (4, Some("{\"a\":1}".to_owned()))];
        assert_eq!(lines("{}\r\n\n  \n{\"a\":1}"), expected);
        assert_eq!(lines("\u{feff}{}\n\n\n{\"a\":1}\n"), expected);
        assert_eq!(lines(""), []);
    }

    #[test]
    fn gzip_is_recognized_and_may_consist_of_members() {
        let mut bytes = gzip(b"{\"a\":1}\n");
        bytes.extend(gzip(b"{\"a\":2}\n"));
        assert_eq!(lines(bytes).len(), 2);
    }

    #[test]
    fn what_is_not_utf_8_is_a_line_without_text() {
        assert_eq!(lines(b"{}\n\xff\xfe\n{}\n".to_vec())[1], (2, None));
    }

    #[test]
    fn damaged_gzip_is_an_error() {
        let mut bytes = gzip(&b"{\"a\":1}\n".repeat(1_000));
        bytes.truncate(bytes.len() / 2);
        let mut lines = Lines::read(io::Cursor::new(bytes)).unwrap();
        let outcome = std::iter::from_fn(|| lines.next().transpose()).find(Result::is_err);
        assert!(outcome.is_some());
    }
}
