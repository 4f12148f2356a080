//! Inputs that are nearly right: what is really said, with a few changes.

/// SplitMix64, so that a seed means the same whatever the version of a library.
pub(super) struct Random(pub(super) u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// Less than `end`, or 0.
    fn below(&mut self, end: usize) -> usize {
        (self.next() % end.max(1) as u64) as usize
    }

    fn pick<'a, T>(&mut self, from: &'a [T]) -> &'a T {
        &from[self.below(from.len())]
    }
}

/// One of `seeds` with up to eight changes.
pub(super) fn mutate(random: &mut Random, seeds: &[Vec<u8>]) -> Vec<u8> {
    let mut bytes = random.pick(seeds).clone();
    for _ in 0..random.below(9) {
        change(random, &mut bytes, seeds);
    }
    bytes
}

fn change(random: &mut Random, bytes: &mut Vec<u8>, seeds: &[Vec<u8>]) {
    let at = random.below(bytes.len());
    let end = at + random.below((bytes.len() - at).min(64) + 1);
    match random.below(9) {
        0 => bytes.iter_mut().skip(at).take(1).for_each(|byte| *byte ^= 1 << random.below(8)),
        1 => bytes.iter_mut().skip(at).take(1).for_each(|byte| *byte = random.next() as u8),
        2 => bytes.truncate(at),
        3 => drop(bytes.drain(at..end)),
        4 => {
            let noise: Vec<u8> = (0..random.below(32)).map(|_| random.next() as u8).collect();
            drop(bytes.splice(at..at, noise));
        }
        5 => {
            let again = bytes[at..end].repeat(1 + random.below(8));
            drop(bytes.splice(at..at, again));
        }
        // The end of another seed, or a piece of it.
        6 => {
            let other = random.pick(seeds);
            let from = random.below(other.len());
            bytes.truncate(at);
            bytes.extend_from_slice(&other[from..]);
        }
        7 => {
            let other = random.pick(seeds);
            let from = random.below(other.len());
            let piece = other[from..].iter().take(1 + random.below(64)).copied();
            drop(bytes.splice(at..end, piece));
        }
        _ => extreme(random, &mut bytes[at..]),
    }
}

/// A number at its limits, or about as long as what follows, of any width and in either order.
fn extreme(random: &mut Random, bytes: &mut [u8]) {
    let follows = bytes.len() as u64;
    let limits = [0, 1, 0x7f, 0x80, 0xff, 0x7fff, 0xffff, 0x7fff_ffff, 0xffff_ffff, i64::MAX as u64, u64::MAX];
    let near = [follows.saturating_sub(5), follows.saturating_sub(4), follows, follows + 1];
    let is_near = random.below(3) == 0;
    let number = *random.pick(if is_near { &near[..] } else { &limits });
    let width = *random.pick(&[1, 2, 4, 8]);
    if let Some(field) = bytes.get_mut(..width) {
        match random.below(4) {
            0 => field.copy_from_slice(&number.to_le_bytes()[..width]),
            _ => field.copy_from_slice(&number.to_be_bytes()[8 - width..]),
        }
    }
}
