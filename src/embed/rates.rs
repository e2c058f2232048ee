//! Rates that conserve totals: how much of a counter's growth belongs to which step of a series. Pure arithmetic.
//!
//! A counter is looked at now and then. What it has gained between two looks is spread evenly over that time, so a step gets the part of it
//! that lies in the step (the way of RRDtool, Oetiker 1999), in whole numbers: a step's part is the difference of the parts before its
//! two ends, each rounded down. So the steps of any series add up to what the counter has gained, exactly; and since coarse steps end where
//! fine ones do, each is the sum of its fine ones, exactly.
//!
//! Step `k` of a series is the time from `k * step` on, without that instant, to `(k + 1) * step`, with it.

/// A series: so many steps, of so many milliseconds each, the oldest of which are given up for the newest.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Archive {
    pub(crate) step: u64,
    pub(crate) steps: u64,
}

/// What is kept: ten minutes by the second, four hours by ten seconds, seven days by five minutes.
pub(crate) const ARCHIVES: [Archive; 3] = [
    Archive {
        step: 1_000,
        steps: 600,
    },
    Archive {
        step: 10_000,
        steps: 1_440,
    },
    Archive {
        step: 300_000,
        steps: 2_016,
    },
];

/// A counter's growth between two looks.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Growth {
    /// Milliseconds; `to` is not before `from`.
    pub(crate) from: u64,
    pub(crate) to: u64,
    pub(crate) amount: u64,
}

impl Growth {
    /// How much of it had come by a time.
    fn by(&self, time: u64) -> u64 {
        if time >= self.to {
            return self.amount;
        }
        let gone = u128::from(time.saturating_sub(self.from));
        let whole = u128::from(self.to.saturating_sub(self.from));
        let part = (u128::from(self.amount) * gone).checked_div(whole);
        part.map_or(0, |part| u64::try_from(part).unwrap_or(self.amount))
    }
}

impl Archive {
    /// The step that a time lies in.
    pub(crate) fn step_of(&self, time: u64) -> u64 {
        time.saturating_sub(1) / self.step
    }

    /// Writes the steps that a growth has part in, the oldest first, by their numbers; `open` is what the step of `from` had before. Gives
    /// what the step of `to` has now. A step may be written again: always the whole of it.
    pub(crate) fn advance(
        &self,
        open: u64,
        growth: Growth,
        mut write: impl FnMut(u64, u64),
    ) -> u64 {
        let (first, last) = (self.step_of(growth.from), self.step_of(growth.to));
        let mut value = open;
        // However long nobody has looked, no more steps are written than there are.
        for step in first.max((last + 1).saturating_sub(self.steps))..=last {
            let before = if step == first {
                0
            } else {
                growth.by(step * self.step)
            };
            value = growth.by((step + 1) * self.step) - before;
            if step == first {
                value = value.wrapping_add(open);
            }
            write(step, value);
        }
        value
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeMap;

    /// Numbers that look like chance, the same in each run (xorshift64*, Vigna 2016).
    struct Numbers(u64);

    impl Numbers {
        fn below(&mut self, limit: u64) -> u64 {
            self.0 ^= self.0 >> 12;
            self.0 ^= self.0 << 25;
            self.0 ^= self.0 >> 27;
            self.0.wrapping_mul(0x2545_F491_4F6C_DD1D) % limit
        }
    }

    /// Growths one behind the other, with pauses and lengths of nothing.
    fn growths(numbers: &mut Numbers, longest: u64) -> Vec<Growth> {
        let mut from = numbers.below(1 << 40);
        let count = 1 + numbers.below(60);
        let grow = |_| {
            let to = match numbers.below(5) {
                0 => from,
                1 => (from / 1000 + 1) * 1000,
                2 => (from / 300_000 + 1) * 300_000,
                _ => from + numbers.below(longest),
            };
            let most = [2, 1000, 1 << 40, 1 << 54][usize::try_from(numbers.below(4)).unwrap()];
            let growth = Growth {
                from,
                to,
                amount: numbers.below(most),
            };
            from = to;
            growth
        };
        (0..count).map(grow).collect()
    }

    /// Every step that was ever written, also those that have been given up.
    fn written(archive: Archive, growths: &[Growth]) -> BTreeMap<u64, u64> {
        let mut steps = BTreeMap::new();
        let mut open = 0;
        for growth in growths {
            open = archive.advance(open, *growth, |step, value| {
                steps.insert(step, value);
            });
        }
        steps
    }

    #[test]
    fn the_steps_of_a_series_add_up_to_what_the_counter_has_gained() {
        let mut numbers = Numbers(20_261_126);
        for _ in 0..2_000 {
            let growths = growths(&mut numbers, 5_000);
            let gained: u64 = growths.iter().map(|growth| growth.amount).sum();
            let [fine, coarse, coarsest] = ARCHIVES.map(|archive| written(archive, &growths));
            for steps in [&fine, &coarse, &coarsest] {
                assert_eq!(steps.values().sum::<u64>(), gained);
            }
            for (steps, ratio) in [(&coarse, 10), (&coarsest, 300)] {
                for (step, value) in steps {
                    let of_it = fine.range(step * ratio..(step + 1) * ratio);
                    assert_eq!(of_it.map(|(_, value)| value).sum::<u64>(), *value);
                }
            }
        }
    }

    #[test]
    fn a_step_gets_what_lies_in_it() {
        let growth = Growth {
            from: 500,
            to: 3_500,
            amount: 3_000,
        };
        let steps = written(ARCHIVES[0], &[growth]);
        assert_eq!(
            steps.into_iter().collect::<Vec<_>>(),
            [(0, 500), (1, 1000), (2, 1000), (3, 500)]
        );
        // An instant lies in one step, also where two meet.
        for instant in [0, 1, 999, 1_000, 1_001, 10_000, 300_000] {
            let growth = Growth {
                from: instant,
                to: instant,
                amount: 7,
            };
            for archive in ARCHIVES {
                let steps = written(archive, &[growth]);
                assert_eq!(steps.into_values().collect::<Vec<_>>(), [7]);
            }
        }
    }

    #[test]
    fn after_years_without_a_look_no_more_is_written_than_is_kept() {
        let year = 366 * 86_400_000;
        let growth = Growth {
            from: 5,
            to: 1_000 * year,
            amount: u64::MAX,
        };
        for archive in ARCHIVES {
            let steps = written(archive, &[growth]);
            assert_eq!(steps.len() as u64, archive.steps);
            let length = archive.step * archive.steps;
            let before = growth.by((archive.step_of(growth.to) + 1 - archive.steps) * archive.step);
            assert_eq!(steps.values().sum::<u64>(), u64::MAX - before);
            assert!(u64::MAX - before <= u64::MAX / (1_000 * year) * (length + 5) + length);
        }
    }

    #[test]
    fn what_is_written_again_is_written_whole() {
        let mut numbers = Numbers(7);
        for _ in 0..500 {
            let growths = growths(&mut numbers, 50_000);
            let Some((last, before)) = growths.split_last() else {
                continue;
            };
            let archive = ARCHIVES[0];
            let mut steps = BTreeMap::new();
            let mut open = 0;
            for growth in before {
                open = archive.advance(open, *growth, |step, value| {
                    steps.insert(step, value);
                });
            }
            // Somebody begins to write the last growth, is killed in the middle of it, and another one looks a little later.
            let mut left = numbers.below(4);
            archive.advance(open, *last, |step, value| {
                if left > 0 {
                    left -= 1;
                    steps.insert(step, value);
                }
            });
            let later = Growth {
                to: last.to + numbers.below(2_000),
                ..*last
            };
            archive.advance(open, later, |step, value| {
                steps.insert(step, value);
            });
            let gained: u64 = growths.iter().map(|growth| growth.amount).sum();
            let kept = steps.len() as u64 <= archive.steps;
            assert!(!kept || steps.values().sum::<u64>() == gained);
        }
    }
}
