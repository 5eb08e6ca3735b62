//! Random bytes, for salts and ids.
//!
//! They come from the operating system, some kilobytes at a time for each thread: one system call a decision would
//! cost more than everything that its bytes are for. Each byte is given out once, and is not kept once it was.

use std::cell::RefCell;

use crate::error::HostError;

const POOL_BYTES: usize = 4_096;

struct Pool {
    bytes: [u8; POOL_BYTES],
    used: usize,
}

thread_local! {
    static POOL: RefCell<Pool> = const { RefCell::new(Pool { bytes: [0; POOL_BYTES], used: POOL_BYTES }) };
}

/// `N` random bytes, at most the size of the pool.
pub(crate) fn random<const N: usize>() -> Result<[u8; N], HostError> {
    POOL.with_borrow_mut(|pool| pool.take(getrandom::fill))
}

impl Pool {
    fn take<const N: usize>(
        &mut self,
        fill: impl FnOnce(&mut [u8]) -> Result<(), getrandom::Error>,
    ) -> Result<[u8; N], HostError> {
        const { assert!(N <= POOL_BYTES) };
        if self.bytes.len() - self.used < N {
            // Until it is full again nothing in it may be given out.
            self.used = POOL_BYTES;
            fill(&mut self.bytes).map_err(|error| HostError::Entropy(error.to_string()))?;
            self.used = 0;
        }
        let mut taken = [0; N];
        // Too few are a bug; zeros would be salts that anyone can guess.
        let place = self.bytes.get_mut(self.used..self.used + N);
        let place = place.ok_or_else(|| HostError::Entropy("too few bytes".into()))?;
        place.swap_with_slice(&mut taken);
        self.used += N;
        Ok(taken)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A source that counts, so that a byte which is given out twice can be seen.
    fn counting(bytes: &mut [u8], from: &mut u16) {
        for pair in bytes.as_chunks_mut::<2>().0 {
            *from += 1;
            *pair = from.to_be_bytes();
        }
    }

    #[test]
    fn no_byte_is_given_out_twice_or_kept() {
        let mut pool = Pool { bytes: [0; POOL_BYTES], used: POOL_BYTES };
        let (mut counter, mut last) = (0, 0);
        for _ in 0..1_000 {
            let taken: [u8; 34] = pool
                .take(|bytes| {
                    counting(bytes, &mut counter);
                    Ok(())
                })
                .unwrap();
            for pair in taken.as_chunks::<2>().0 {
                let value = u16::from_be_bytes(*pair);
                assert!(value > last);
                last = value;
            }
            assert!(pool.bytes[..pool.used].iter().all(|byte| *byte == 0));
        }
    }

    #[test]
    fn nothing_is_given_out_after_the_source_failed() {
        let mut pool = Pool { bytes: [7; POOL_BYTES], used: POOL_BYTES - 1 };
        for _ in 0..2 {
            assert!(pool.take::<2>(|_| Err(getrandom::Error::UNSUPPORTED)).is_err());
        }
    }

    #[test]
    fn two_takes_differ() {
        assert_ne!(random::<32>().unwrap(), random::<32>().unwrap());
    }
}
