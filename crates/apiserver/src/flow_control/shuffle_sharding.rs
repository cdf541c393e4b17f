//! Shuffle sharding: which few queues a flow may use.
//!
//! A flow's hash deals it a hand of distinct queues out of all of them. Two flows rarely hold the same hand, so that a heavy flow fills
//! queues which a light one can avoid. The dealing is upstream's: the hash is read as digits in the mixed radix `n, n-1, n-2 …`, each digit
//! picks among the cards that are left.

use std::hash::Hasher as _;

/// The greatest hand there can be. Validation of PriorityLevelConfigurations keeps `queues` and `handSize` so small that 60 bits of
/// hash decide every card.
const MAX_HAND: usize = 16;

/// What a flow's queues depend on: the schema that matched and the user or namespace that tells flows apart.
pub(super) fn flow_hash(schema: &str, distinguisher: &str) -> u64 {
    // Seedless: the same flow has the same hand in every run.
    let mut hasher = std::hash::DefaultHasher::new();
    hasher.write(schema.as_bytes());
    hasher.write_u8(0);
    hasher.write(distinguisher.as_bytes());
    hasher.finish()
}

/// Deals `hand_size` distinct cards of `0..deck_size`, in the order that the hash says. More cards than there are deals all of them.
pub(super) fn deal(
    mut hash: u64,
    deck_size: usize,
    hand_size: usize,
) -> impl Iterator<Item = usize> {
    let size = hand_size.min(deck_size).min(MAX_HAND);
    let mut digits = [0usize; MAX_HAND];
    let mut at = 0;
    std::iter::from_fn(move || {
        if at == size {
            return None;
        }
        let left = (deck_size - at) as u64;
        digits[at] = (hash % left) as usize;
        hash /= left;
        // A digit counts among the cards that are left; each card dealt before it and not above it moves it up by one.
        let mut card = digits[at];
        for earlier in (0..at).rev() {
            if card >= digits[earlier] {
                card += 1;
            }
        }
        at += 1;
        Some(card)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hands_hold_distinct_cards_of_the_deck() {
        for deck in [1usize, 2, 7, 64, 128] {
            for hash in 0..2000u64 {
                let hash = hash.wrapping_mul(0x9e37_79b9_7f4a_7c15);
                let mut hand: Vec<usize> = deal(hash, deck, 6).collect();
                assert_eq!(hand.len(), deck.min(6));
                assert!(hand.iter().all(|card| *card < deck));
                hand.sort_unstable();
                hand.dedup();
                assert_eq!(hand.len(), deck.min(6), "deck {deck}, hash {hash}");
            }
        }
    }

    #[test]
    fn every_hand_is_dealt_equally_often() {
        // 4 cards, hands of 2: 12 ordered hands, and as many hashes for each.
        let mut seen = std::collections::BTreeMap::new();
        for hash in 0..1200 {
            *seen
                .entry(deal(hash, 4, 2).collect::<Vec<_>>())
                .or_insert(0) += 1;
        }
        assert_eq!(seen.len(), 12);
        assert!(seen.values().all(|count| *count == 100));
    }
}
