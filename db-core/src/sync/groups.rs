//! Where two frontiers differ: the tips in groups by the first bits of their writers' keys, and a fingerprint of each group. Only
//! the groups that differ are listed, so that a meeting costs what has changed and not how many writers there are.

use super::frontier::fingerprint;
use crate::log_reader::Tip;

/// About how many tips a group has.
const GROUP_TIPS: usize = if cfg!(test) { 1 } else { 16 };
/// Of how many bits of the key the groups are at the most.
const BITS_MAX: u32 = 12;
/// The most groups there are.
pub(super) const GROUPS_MAX: usize = 1 << BITS_MAX;

/// The beginning of a group's fingerprint, which is compared.
pub(super) type GroupPrint = [u8; 16];

/// How many bits of the key tell the groups, where two peers have so many tips; 0 where all are listed at once.
pub(super) fn bits_for(own: usize, peer: usize) -> u32 {
    (own.max(peer) / GROUP_TIPS).checked_ilog2().unwrap_or_default().min(BITS_MAX)
}

/// The fingerprints of all groups of these tips, which ascend.
pub(super) fn prints(tips: &[Tip], bits: u32) -> Vec<GroupPrint> {
    let mut rest = tips;
    (0..1_usize << bits)
        .map(|group| {
            let (of_group, after) = rest.split_at(rest.partition_point(|tip| group_of(tip, bits) <= group));
            rest = after;
            fingerprint(of_group).first_chunk().copied().unwrap_or_default()
        })
        .collect()
}

/// Of these tips, those of groups in which the fingerprints differ; none if the peer tells of another number of groups.
pub(super) fn differing(tips: &[Tip], bits: u32, peer: &[GroupPrint]) -> Option<Vec<Tip>> {
    let own = prints(tips, bits);
    if own.len() != peer.len() {
        return None;
    }
    let differs = |tip: &&Tip| {
        let group = group_of(tip, bits);
        own.get(group) != peer.get(group)
    };
    Some(tips.iter().filter(differs).copied().collect())
}

/// Which group a tip is in: the first bits of its writer's key.
fn group_of(tip: &Tip, bits: u32) -> usize {
    let first = tip.writer.as_bytes().first_chunk().copied().unwrap_or_default();
    usize::from(u16::from_be_bytes(first)) >> (u16::BITS - bits.min(BITS_MAX))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::ids::{EntryHash, WriterKey};

    fn tip(writer: u16, length: u64) -> Tip {
        let mut key = [7; 32];
        key[..2].copy_from_slice(&writer.to_be_bytes());
        Tip { writer: WriterKey::from_bytes(key), length, head: EntryHash::from_bytes([length as u8; 32]) }
    }

    proptest! {
        #[test]
        fn what_differs_is_listed_by_both(
            same in proptest::collection::btree_map(any::<u16>(), 1_u64..9, 0..60),
            of_one in proptest::collection::btree_map(any::<u16>(), 1_u64..9, 0..4),
            of_other in proptest::collection::btree_map(any::<u16>(), 1_u64..9, 0..4),
        ) {
            let list = |own: &std::collections::BTreeMap<u16, u64>| -> Vec<Tip> {
                let mut all = same.clone();
                all.extend(own);
                all.into_iter().map(|(writer, length)| tip(writer, length)).collect()
            };
            let (one, other) = (list(&of_one), list(&of_other));
            let bits = bits_for(one.len(), other.len());
            let of_one = differing(&one, bits, &prints(&other, bits)).unwrap();
            let of_other = differing(&other, bits, &prints(&one, bits)).unwrap();
            prop_assert!(of_one.is_sorted() && of_other.is_sorted());
            for tip in one.iter().filter(|tip| !other.contains(tip)) {
                prop_assert!(of_one.contains(tip));
            }
            for tip in other.iter().filter(|tip| !one.contains(tip)) {
                prop_assert!(of_other.contains(tip));
            }
            prop_assert_eq!(one == other, of_one.is_empty() && of_other.is_empty());
        }
    }

    #[test]
    fn one_difference_among_many_lists_one_group() {
        let one: Vec<Tip> = (0..4_000).map(|writer| tip(writer * 16, 1)).collect();
        let mut other = one.clone();
        other[77].length = 2;
        let bits = bits_for(one.len(), other.len());
        assert!(differing(&one, bits, &prints(&other, bits)).unwrap().len() <= 4);
        assert_eq!(differing(&one, bits, &prints(&other, bits - 1)), None);
    }

    #[test]
    fn any_number_of_tips_has_its_groups() {
        for (count, bits) in
            [(0, 0), (1, 0), (2, 1), (3, 1), (1 << 11, 11), (1 << 20, BITS_MAX), (usize::MAX, BITS_MAX)]
        {
            assert_eq!(bits_for(count, 0), bits);
            assert_eq!(bits_for(1, count.max(1)), bits);
        }
    }
}
