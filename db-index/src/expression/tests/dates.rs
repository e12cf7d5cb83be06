//! Which fault of a date operator comes first, and what clock changes do.

use super::*;

fn date(text: &str) -> Bson {
    Bson::DateTime(DateTime::parse_rfc3339_str(text).unwrap())
}

#[test]
fn hours_pass_where_clocks_change_and_days_do_not_care() {
    let zone = "America/New_York";
    // Clocks went from 02:00 to 03:00 at 07:00 UTC.
    let before = || date("2021-03-14T06:30:00Z");
    check(
        bson!({"$dateAdd": {"startDate": before(), "unit": "hour", "amount": 2, "timezone": zone}}),
        date("2021-03-14T08:30:00Z"),
    );
    check(
        bson!({"$dateAdd": {"startDate": before(), "unit": "day", "amount": 1, "timezone": zone}}),
        date("2021-03-15T05:30:00Z"),
    );
    let count = |unit: &str, end: &str| bson!({"$dateDiff": {"startDate": before(), "endDate": date(end), "unit": unit, "timezone": zone}});
    check(count("hour", "2021-03-14T08:30:00Z"), bson!(2_i64));
    check(count("minute", "2021-03-14T08:30:00Z"), bson!(120_i64));
    check(count("millisecond", "2021-03-14T08:30:00Z"), bson!(7_200_000_i64));
    check(count("day", "2021-03-15T04:30:00Z"), bson!(1_i64));
    check(
        bson!({"$dateTrunc": {"date": date("2021-03-14T10:30:00Z"), "unit": "hour", "binSize": 6, "timezone": zone}}),
        date("2021-03-14T05:00:00Z"),
    );
    check(
        bson!({"$dateTrunc": {"date": date("2021-07-14T10:30:00Z"), "unit": "day", "timezone": zone}}),
        date("2021-07-14T04:00:00Z"),
    );
}

#[test]
fn faults_of_date_arguments_in_their_order() {
    let now = || date("2021-01-01T00:00:00Z");
    let trunc = |more: Document| {
        let mut arguments = doc! {"date": now(), "unit": "week"};
        arguments.extend(more);
        bson!({"$dateTrunc": arguments})
    };
    check_refused(trunc(doc! {"date": 5}), 5_166_307);
    check_refused(trunc(doc! {"startOfWeek": 5}), 5_439_015);
    check_refused(trunc(doc! {"startOfWeek": "someday"}), 5_439_016);
    check_refused(trunc(doc! {"binSize": 0, "unit": "nothing"}), 5_439_018);
    check_refused(trunc(doc! {"binSize": 100_000_000_001_i64}), 5_439_006);
    check_refused(trunc(doc! {"unit": "hour", "binSize": i64::MAX}), 5_439_002);
    check(trunc(doc! {"unit": "day", "startOfWeek": 5}), now());
    check(trunc(doc! {"date": Bson::Null, "unit": "nothing"}), Bson::Null);
    check_refused(trunc(doc! {"date": "$nothing", "unit": "nothing"}), 9);
    let add = |more: Document| {
        let mut arguments = doc! {"startDate": now(), "unit": "day", "amount": 1};
        arguments.extend(more);
        bson!({"$dateSubtract": arguments})
    };
    check_refused(add(doc! {"amount": i64::MIN}), 6_045_000);
    check_refused(add(doc! {"amount": i64::MAX}), 5_976_500);
    check_refused(add(doc! {"amount": 213_503_982_000_i64}), 5_166_406);
    check_refused(add(doc! {"unit": "nothing", "startDate": 5}), 9);
    check_refused(add(doc! {"timezone": "Nowhere", "startDate": "$nothing"}), 40485);
    check(add(doc! {"timezone": Bson::Null, "startDate": "$s"}), Bson::Null);
    check_refused(bson!({"$hour": {"date": 5, "timezone": Bson::Null}}), 16006);
    check_refused(bson!({"$dateFromParts": {"isoWeekYear": 0}}), 31095);
    check_refused(bson!({"$dateFromParts": {"year": 10_000}}), 40523);
    check(bson!({"$dateFromParts": {"year": 10_000, "hour": Bson::Null}}), Bson::Null);
    check(bson!({"$dateToParts": {"date": now(), "timezone": Bson::Null, "iso8601": 5}}), Bson::Null);
}

#[test]
fn nulls_among_the_arguments_of_date_text() {
    let now = || date("2021-01-01T00:00:00Z");
    check(bson!({"$dateToString": {"date": now(), "format": Bson::Null, "onNull": 5}}), Bson::Null);
    check(bson!({"$dateToString": {"date": Bson::Null, "timezone": Bson::Null, "onNull": 5}}), bson!(5));
    check_refused(bson!({"$dateToString": {"date": Bson::Null, "format": "%q"}}), 18536);
    check(bson!({"$dateToString": {"date": now(), "timezone": "+00:00"}}), bson!("2021-01-01T00:00:00.000Z"));
    check_refused(bson!({"$dateFromString": {"dateString": Bson::Null, "format": 5}}), 40684);
    check_refused(bson!({"$dateFromString": {"dateString": Bson::Null, "format": "%"}}), 18535);
    check_refused(bson!({"$dateFromString": {"dateString": 5, "timezone": Bson::Null}}), 241);
    check(bson!({"$dateFromString": {"dateString": "x", "format": Bson::Null, "onError": 5}}), Bson::Null);
}
