//! Random documents and updates against a reference that works on decoded documents, one path after another.

use bson::RawBson;
use proptest::prelude::*;
use proptest::sample::select;

use super::*;
use crate::number::Number;
use crate::testing::{any_document, any_value, small_document, small_value};

/// The reference: paths in the documented order, each walked from the root. Errors are codes.
mod reference {
    use std::cmp::Ordering;

    use super::*;

    pub(super) fn apply(document: &Document, update: &Document) -> Result<Document, i32> {
        let mut paths: Vec<(Vec<String>, String, String, Bson)> = Vec::new();
        for (operator, fields) in update {
            for (path, operand) in fields.as_document().unwrap() {
                let place = if operator == "$rename" { operand.as_str().unwrap() } else { path };
                paths.push((split(place), operator.clone(), path.clone(), operand.clone()));
            }
        }
        paths.sort_by(|(a, ..), (b, ..)| order(a, b));
        let mut result = document.clone();
        for (place, operator, path, operand) in paths {
            if operator == "$rename" {
                let source = split(&path);
                // Padding of an array by another path does not make a source.
                let moved = match find(document, &source)? {
                    None => continue,
                    Some((_, true)) => return Err(2),
                    Some((value, false)) => value,
                };
                if passes_array(&result, &place) {
                    return Err(2);
                }
                set(&mut result, &place, &mut |_| Ok(Some(moved.clone())), true, false)?;
                set(&mut result, &source, &mut |_| Ok(None), false, true)?;
                continue;
            }
            let creates = !matches!(operator.as_str(), "$unset" | "$pop" | "$pull");
            let ignores = matches!(operator.as_str(), "$unset" | "$pull");
            set(&mut result, &place, &mut |old| value_of(&operator, old, &operand), creates, ignores)?;
        }
        if result.get("_id") != document.get("_id") {
            return Err(66);
        }
        Ok(result)
    }

    fn split(path: &str) -> Vec<String> {
        path.split('.').map(str::to_owned).collect()
    }

    fn order(a: &[String], b: &[String]) -> Ordering {
        for (a, b) in a.iter().zip(b) {
            let ordering = match (a.parse::<u64>(), b.parse::<u64>()) {
                (Ok(a), Ok(b)) => a.cmp(&b),
                (Ok(_), Err(_)) => Ordering::Less,
                (Err(_), Ok(_)) => Ordering::Greater,
                _ => a.cmp(b),
            };
            if ordering.is_ne() {
                return ordering;
            }
        }
        a.len().cmp(&b.len())
    }

    /// The value at a path and whether the way led through an array.
    fn find(document: &Document, path: &[String]) -> Result<Option<(Bson, bool)>, i32> {
        let mut value = Bson::Document(document.clone());
        let mut array = false;
        for part in path {
            value = match value {
                Bson::Document(document) => match document.get(part) {
                    Some(value) => value.clone(),
                    None => return Ok(None),
                },
                Bson::Array(elements) => {
                    let Ok(index) = part.parse::<usize>() else { return Err(28) };
                    array = true;
                    match elements.get(index) {
                        Some(value) => value.clone(),
                        None => return Ok(None),
                    }
                }
                _ => return Err(28),
            };
        }
        Ok(Some((value, array)))
    }

    fn passes_array(document: &Document, path: &[String]) -> bool {
        let mut value = Bson::Document(document.clone());
        for part in path {
            value = match value {
                Bson::Document(document) => match document.get(part) {
                    Some(value) => value.clone(),
                    None => return false,
                },
                Bson::Array(_) => return part.parse::<usize>().is_ok(),
                _ => return false,
            };
        }
        false
    }

    type Change<'c> = dyn FnMut(Option<&Bson>) -> Result<Option<Bson>, i32> + 'c;

    /// Puts what `change` makes of the old value at the path.
    fn set(
        document: &mut Document,
        path: &[String],
        change: &mut Change<'_>,
        creates: bool,
        ignores: bool,
    ) -> Result<(), i32> {
        let (first, rest) = path.split_first().unwrap();
        let old = document.get_mut(first);
        if rest.is_empty() {
            match (change(old.as_deref())?, old) {
                (Some(new), Some(old)) => *old = new,
                (Some(new), None) if creates => {
                    document.insert(first, new);
                }
                (None, Some(_)) => {
                    document.remove(first);
                }
                _ => {}
            }
            return Ok(());
        }
        match old {
            Some(old) => set_below(old, rest, change, creates, ignores),
            None if creates => {
                let mut created = Bson::Document(Document::new());
                set_below(&mut created, rest, change, creates, ignores)?;
                document.insert(first, created);
                Ok(())
            }
            None => Ok(()),
        }
    }

    fn set_below(
        value: &mut Bson,
        path: &[String],
        change: &mut Change<'_>,
        creates: bool,
        ignores: bool,
    ) -> Result<(), i32> {
        match value {
            Bson::Document(document) => set(document, path, change, creates, ignores),
            Bson::Array(elements) => {
                let (first, rest) = path.split_first().unwrap();
                let Ok(index) = first.parse::<usize>() else { return if ignores { Ok(()) } else { Err(28) } };
                if index >= elements.len() {
                    if !creates {
                        return Ok(());
                    }
                    let mut created = Bson::Document(Document::new());
                    if rest.is_empty() {
                        created = change(None)?.unwrap();
                    } else {
                        set_below(&mut created, rest, change, creates, ignores)?;
                    }
                    elements.resize(index, Bson::Null);
                    elements.push(created);
                } else if rest.is_empty() {
                    elements[index] = change(Some(&elements[index]))?.unwrap_or(Bson::Null);
                } else {
                    return set_below(&mut elements[index], rest, change, creates, ignores);
                }
                Ok(())
            }
            _ if ignores => Ok(()),
            _ => Err(28),
        }
    }

    /// The new value; `None` removes. What is not created is not asked for.
    fn value_of(operator: &str, old: Option<&Bson>, operand: &Bson) -> Result<Option<Bson>, i32> {
        let compare = |a: &Bson, b: &Bson| {
            let (a, b) = (RawBson::try_from(a.clone()).unwrap(), RawBson::try_from(b.clone()).unwrap());
            crate::order::compare(a.as_raw_bson_ref(), b.as_raw_bson_ref())
        };
        let array = |code: i32| match old {
            None => Ok(Vec::new()),
            Some(Bson::Array(elements)) => Ok(elements.clone()),
            Some(_) => Err(code),
        };
        Ok(Some(match operator {
            "$set" => operand.clone(),
            "$unset" => return Ok(None),
            "$inc" => match old {
                None => operand.clone(),
                Some(old) => number(old)?
                    .checked_add(number(operand)?)
                    .map(from_number)
                    .map_err(|error| error.code.0)?,
            },
            "$min" | "$max" => {
                let wanted = if operator == "$min" { Ordering::Less } else { Ordering::Greater };
                match old {
                    Some(old) if compare(operand, old) != wanted => old.clone(),
                    _ => operand.clone(),
                }
            }
            "$push" => {
                let mut elements = array(2)?;
                elements.push(operand.clone());
                Bson::Array(elements)
            }
            "$addToSet" => {
                let mut elements = array(2)?;
                if !elements.iter().any(|element| compare(element, operand).is_eq()) {
                    elements.push(operand.clone());
                }
                Bson::Array(elements)
            }
            "$pop" => {
                let mut elements = array(14)?;
                if operand == &Bson::Int32(1) {
                    elements.pop();
                } else if !elements.is_empty() {
                    elements.remove(0);
                }
                Bson::Array(elements)
            }
            "$pull" => {
                let mut elements = array(2)?;
                elements.retain(|element| compare(element, operand).is_ne());
                Bson::Array(elements)
            }
            other => panic!("{other}"),
        }))
    }

    fn number(value: &Bson) -> Result<Number, i32> {
        let raw = RawBson::try_from(value.clone()).unwrap();
        Number::from_raw(raw.as_raw_bson_ref()).ok_or(14)
    }

    fn from_number(number: Number) -> Bson {
        Bson::try_from(number.to_raw_bson()).unwrap()
    }
}

fn any_path() -> impl Strategy<Value = String> {
    proptest::collection::vec(select(vec!["a", "b", "c", "0", "1", "3"]), 1..4)
        .prop_map(|parts| parts.join("."))
}

fn any_update() -> impl Strategy<Value = Document> {
    let field = (0..9_u8, any_path(), any_path(), small_value(), -3..4_i32);
    proptest::collection::vec(field, 1..5).prop_map(|fields| {
        let mut update = Document::new();
        for (kind, path, target, value, number) in fields {
            let value = Bson::try_from(value).unwrap();
            // A document operand of $pull would be a query, of $push and $addToSet a set of modifiers at most by `$each`.
            let exact = if value.as_document().is_some() { Bson::Int32(1) } else { value.clone() };
            let (operator, operand) = match kind {
                0 => ("$set", value),
                1 => ("$unset", Bson::Boolean(true)),
                2 => ("$inc", Bson::Int32(number)),
                3 => ("$push", value),
                4 => ("$pull", exact),
                5 => ("$rename", Bson::String(target)),
                6 => ("$addToSet", value),
                7 => ("$max", value),
                _ => ("$pop", Bson::Int32(if number > 0 { 1 } else { -1 })),
            };
            let fields = update.entry(operator).or_insert_with(|| bson!({})).as_document_mut().unwrap();
            fields.insert(path, operand);
        }
        update
    })
}

fn bits(document: &Document) -> Vec<u8> {
    raw(document.clone()).into_bytes()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn an_update_does_what_the_reference_does(document in small_document(), update in any_update()) {
        let Ok(compiled) = parse(update.clone()) else { return Ok(()) };
        let document = decoded(&document);
        let expected = reference::apply(&document, &update);
        let result = compiled.apply(&raw(document.clone()), &CONTEXT);
        match (&result, &expected) {
            (Ok(updated), Ok(expected)) => {
                prop_assert_eq!(updated.document.as_bytes(), bits(expected), "{} on {}: {}", update, document, expected);
                prop_assert_eq!(updated.changed, bits(expected) != bits(&document));
            }
            (Err(_), Err(_)) => {}
            _ => prop_assert!(false, "{} on {}: {:?}, expected {:?}", update, document, result, expected),
        }
    }

    #[test]
    fn every_update_keeps_the_guard_s_promises(document in any_document(), path in any_path(), value in any_value(), kind in 0..15_usize) {
        let operators = ["$set", "$setOnInsert", "$unset", "$inc", "$mul", "$min", "$max", "$bit", "$currentDate", "$rename",
            "$push", "$addToSet", "$pop", "$pull", "$pullAll"];
        let update = raw(doc! {operators[kind]: {path: Bson::try_from(value).unwrap_or(Bson::Null)}});
        if let Ok(update) = Update::parse(&update, &UpdateOptions::default())
            && let Ok(updated) = update.apply(&document, &UpdateContext { positional: Some(0), is_insert: true, now_ms: i64::MIN })
        {
            prop_assert!(guard::check_document(updated.document.as_bytes()).is_ok());
            prop_assert_eq!(&update.apply(&document, &UpdateContext { positional: Some(0), is_insert: true, now_ms: i64::MIN }).unwrap(), &updated);
        }
    }

    #[test]
    fn no_update_document_panics(update in any_document(), document in any_document(), filter in any_document()) {
        let options = UpdateOptions { array_filters: vec![filter], ..UpdateOptions::default() };
        if let Ok(update) = Update::parse(&update, &options) {
            let _ = update.apply(&document, &CONTEXT);
        }
    }

    #[test]
    fn effects_lead_from_before_to_after(before in small_document(), after in small_document()) {
        let effects = plain_effects(&before, &after).unwrap();
        let updated = Update::parse(&effects, &UpdateOptions::default()).unwrap().apply(&before, &CONTEXT).unwrap();
        prop_assert_eq!(updated.document.as_bytes(), after.as_bytes());
    }
}
