//! The proleptic Gregorian calendar in milliseconds since 1970, ISO weeks, and dates as text.

pub(super) const DAY_MS: i64 = 86_400_000;

/// A moment taken apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Civil {
    pub(super) year: i64,
    /// 1 to 12.
    pub(super) month: i64,
    /// 1 to 31.
    pub(super) day: i64,
    /// Milliseconds since midnight.
    pub(super) millis: i64,
}

impl Civil {
    /// Takes local milliseconds apart.
    pub(super) fn from_millis(millis: i64) -> Self {
        let days = millis.div_euclid(DAY_MS);
        // Years are counted from March on in cycles of 400 years, so that leap days come last.
        let shifted = days + 719_468;
        let cycle = shifted.div_euclid(146_097);
        let day_of_cycle = shifted.rem_euclid(146_097);
        let year_of_cycle =
            (day_of_cycle - day_of_cycle / 1460 + day_of_cycle / 36_524 - day_of_cycle / 146_096) / 365;
        let day_of_year = day_of_cycle - (365 * year_of_cycle + year_of_cycle / 4 - year_of_cycle / 100);
        let month_from_march = (5 * day_of_year + 2) / 153;
        let day = day_of_year - (153 * month_from_march + 2) / 5 + 1;
        let month = if month_from_march < 10 { month_from_march + 3 } else { month_from_march - 9 };
        let year = year_of_cycle + cycle * 400 + i64::from(month <= 2);
        Self { year, month, day, millis: millis.rem_euclid(DAY_MS) }
    }

    /// The milliseconds since 1970, if they fit.
    pub(super) fn to_millis(self) -> Option<i64> {
        days_of(self.year, self.month, self.day)?.checked_mul(DAY_MS)?.checked_add(self.millis)
    }

    /// Sunday is 0.
    pub(super) fn weekday(self) -> i64 {
        days_of(self.year, self.month, self.day).map_or(0, |days| (days + 4).rem_euclid(7))
    }

    /// Monday is 1, Sunday 7.
    pub(super) fn iso_weekday(self) -> i64 {
        match self.weekday() {
            0 => 7,
            day => day,
        }
    }

    /// 1 to 366.
    pub(super) fn day_of_year(self) -> i64 {
        match (days_of(self.year, self.month, self.day), days_of(self.year, 1, 1)) {
            (Some(day), Some(first)) => day - first + 1,
            _ => 1,
        }
    }

    /// The ISO 8601 week and the year that it belongs to.
    pub(super) fn iso_week(self) -> (i64, i64) {
        let week = (self.day_of_year() - self.iso_weekday() + 10) / 7;
        if week < 1 {
            (iso_weeks_in(self.year - 1), self.year - 1)
        } else if week > iso_weeks_in(self.year) {
            (1, self.year + 1)
        } else {
            (week, self.year)
        }
    }
}

/// The day number of a date; months may be out of range and carry over.
pub(super) fn days_of(year: i64, month: i64, day: i64) -> Option<i64> {
    let month = month.checked_sub(1)?;
    let year = year.checked_add(month.div_euclid(12))?;
    let month = month.rem_euclid(12) + 1;
    if year.unsigned_abs() > 400_000_000 {
        return None;
    }
    let shifted = if month <= 2 { year - 1 } else { year };
    let cycle = shifted.div_euclid(400);
    let year_of_cycle = shifted.rem_euclid(400);
    let from_march = if month > 2 { month - 3 } else { month + 9 };
    let day_of_year = (153 * from_march + 2) / 5;
    let day_of_cycle = year_of_cycle * 365 + year_of_cycle / 4 - year_of_cycle / 100 + day_of_year;
    (cycle * 146_097 + day_of_cycle - 719_468).checked_add(day)?.checked_sub(1)
}

/// How many days a month has.
pub(super) fn days_in_month(year: i64, month: i64) -> i64 {
    match month {
        4 | 6 | 9 | 11 => 30,
        2 if year % 4 == 0 && (year % 100 != 0 || year % 400 == 0) => 29,
        2 => 28,
        _ => 31,
    }
}

fn iso_weeks_in(year: i64) -> i64 {
    let last = Civil { year, month: 12, day: 31, millis: 0 }.weekday();
    let before = Civil { year: year - 1, month: 12, day: 31, millis: 0 }.weekday();
    if last == 4 || before == 3 { 53 } else { 52 }
}

/// The milliseconds of an ISO week date.
pub(super) fn from_iso_week(year: i64, week: i64, weekday: i64) -> Option<i64> {
    let fourth = days_of(year, 1, 4)?;
    let monday = fourth - (fourth + 3).rem_euclid(7);
    let days =
        monday.checked_add(week.checked_sub(1)?.checked_mul(7)?)?.checked_add(weekday.checked_sub(1)?)?;
    days.checked_mul(DAY_MS)
}

/// The minutes of an offset like `-05:30`.
pub(super) fn parse_offset(text: &str) -> Option<i64> {
    let (sign, digits) = match text.as_bytes().first()? {
        b'+' => (1, text.get(1..)?),
        b'-' => (-1, text.get(1..)?),
        _ => return None,
    };
    let (hours, minutes) = match digits.len() {
        2 => (digits, "0"),
        4 => (digits.get(..2)?, digits.get(2..)?),
        5 if digits.as_bytes().get(2) == Some(&b':') => (digits.get(..2)?, digits.get(3..)?),
        _ => return None,
    };
    if !hours.bytes().chain(minutes.bytes()).all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    Some(sign * (hours.parse::<i64>().ok()? * 60 + minutes.parse::<i64>().ok()?))
}

/// A date in ISO 8601, in UTC.
pub(super) fn iso_text(millis: i64) -> String {
    let civil = Civil::from_millis(millis);
    let time = civil.millis;
    format!(
        "{:04}-{:02}-{:02}T{:02}:{:02}:{:02}.{:03}Z",
        civil.year,
        civil.month,
        civil.day,
        time / 3_600_000,
        time / 60_000 % 60,
        time / 1000 % 60,
        time % 1000
    )
}

/// Reads ISO 8601 and its usual relatives: a date, optionally a time, optionally a zone. Gives the milliseconds and
/// whether a zone was given.
pub(super) fn parse_iso(text: &str) -> Option<(i64, bool)> {
    let text = text.trim();
    let (sign, unsigned) = match text.strip_prefix('-') {
        Some(rest) => (-1, rest),
        None => (1, text),
    };
    let year_digits = unsigned.bytes().take_while(u8::is_ascii_digit).count();
    let (year, month, day, rest) = match year_digits {
        4 => {
            let rest = unsigned.get(4..)?;
            match rest.strip_prefix(['-', '/']) {
                None => return None,
                Some(rest) => {
                    let (month, rest) = number(rest, 2)?;
                    match rest.strip_prefix(['-', '/']) {
                        Some(rest) => {
                            let (day, rest) = number(rest, 2)?;
                            (unsigned.get(..4)?.parse::<i64>().ok()?, month, day, rest)
                        }
                        None => (unsigned.get(..4)?.parse::<i64>().ok()?, month, 1, rest),
                    }
                }
            }
        }
        8 => (
            unsigned.get(..4)?.parse().ok()?,
            unsigned.get(4..6)?.parse().ok()?,
            unsigned.get(6..8)?.parse().ok()?,
            unsigned.get(8..)?,
        ),
        _ => return None,
    };
    if !(1..=12).contains(&month) || day < 1 || day > days_in_month(year, month) {
        return None;
    }
    let midnight = Civil { year: sign * year, month, day, millis: 0 }.to_millis()?;
    let rest = rest.trim_start();
    if rest.is_empty() {
        return Some((midnight, false));
    }
    let rest = rest.strip_prefix(['T', 't']).unwrap_or(rest);
    let (time, rest) = parse_time(rest)?;
    let rest = rest.trim();
    let offset = match rest {
        "" => return Some((midnight.checked_add(time)?, false)),
        "Z" | "z" | "UTC" | "GMT" => 0,
        rest => parse_offset(rest)?,
    };
    Some((midnight.checked_add(time)?.checked_sub(offset * 60_000)?, true))
}

/// `hh:mm`, `hh:mm:ss`, `hh:mm:ss.fff`; gives the milliseconds and the rest.
fn parse_time(text: &str) -> Option<(i64, &str)> {
    let (hour, rest) = number(text, 2)?;
    let rest = rest.strip_prefix(':')?;
    let (minute, rest) = number(rest, 2)?;
    let (mut second, mut millis, mut rest) = (0, 0, rest);
    if let Some(after) = rest.strip_prefix(':') {
        (second, rest) = number(after, 2)?;
        if let Some(after) = rest.strip_prefix('.') {
            let digits = after.bytes().take_while(u8::is_ascii_digit).count();
            if digits == 0 {
                return None;
            }
            let fraction: String = after.chars().take(digits.min(3)).chain("000".chars()).take(3).collect();
            millis = fraction.parse().ok()?;
            rest = after.get(digits..)?;
        }
    }
    if hour > 24 || minute > 59 || second > 60 {
        return None;
    }
    Some((((hour * 60 + minute) * 60 + second) * 1000 + millis, rest))
}

/// One to `most` digits.
pub(super) fn number(text: &str, most: usize) -> Option<(i64, &str)> {
    let digits = text.bytes().take_while(u8::is_ascii_digit).count().min(most);
    Some((text.get(..digits)?.parse().ok()?, text.get(digits..)?))
}
