//! How an inner section's configuration covers an outer one's, and a virtual host's the main server's.
//!
//! Of a single value the inner one counts, where it is set. An inner handler list replaces the outer one of the same phase and
//! extension as a whole. Options are merged key by key, without regard to case.

use super::cover::cover;
use super::mount::{self, Mount};
use super::{ByExtension, Common, Directory, Server};
use crate::httpd::apr::pool::Pool;

impl<'c> Directory<'c> {
    /// Does it say nothing?
    #[inline]
    pub(crate) fn is_blank(&self) -> bool {
        self.phases == 0
            && self.common.is_blank()
            && self.by_extension.is_empty()
            && self.filters.is_empty()
            && self.section.is_none()
            && self.mount.is_none()
    }

    pub(crate) fn merge(
        pool: Pool<'c>,
        base: &Directory<'c>,
        over: &Directory<'c>,
    ) -> Directory<'c> {
        // httpd merges for every request, and mostly one side has no handlers.
        let mut handlers = if over.phases == 0 {
            base.handlers
        } else {
            over.handlers
        };
        if base.phases != 0 && over.phases != 0 {
            for (handler, outer) in handlers.iter_mut().zip(base.handlers) {
                *handler = handler.or(outer);
            }
        }
        Directory {
            phases: base.phases | over.phases,
            handlers,
            by_extension: cover(
                pool,
                base.by_extension,
                over.by_extension,
                ByExtension::same_place,
            ),
            filters: cover(pool, base.filters, over.filters, |a, b| {
                a.input == b.input && a.name == b.name
            }),
            common: Common::merge(pool, &base.common, &over.common),
            section: over.section.or(base.section),
            mount: over.mount.or(base.mount),
        }
    }
}

impl<'c> Server<'c> {
    pub(crate) fn merge(pool: Pool<'c>, base: &Server<'c>, over: &Server<'c>) -> Server<'c> {
        Server {
            common: Common::merge(pool, &base.common, &over.common),
            optimize: over.optimize.or(base.optimize),
            home: over.home,
            connection: over.connection.or(base.connection),
            gil: over.gil,
            gils: over.gils,
            pools: over.pools,
            members: over.members,
            interpreters: over.interpreters,
            imports: over.imports,
            sources: over.sources,
            doubts: over.doubts,
            mounts: mounts(pool, base.mounts, over.mounts),
            daemons: over.daemons,
            handed: over.handed,
            ready: over.ready,
        }
    }
}

impl ByExtension<'_> {
    pub(crate) fn same_place(&self, other: &Self) -> bool {
        self.phase == other.phase && self.extension == other.extension
    }
}

/// Joins a virtual host's applications with those of the main server that lie elsewhere.
fn mounts<'c>(
    pool: Pool<'c>,
    base: &'c [&'c Mount<'c>],
    over: &'c [&'c Mount<'c>],
) -> &'c [&'c Mount<'c>] {
    let same = |outer: &&Mount<'_>, inner: &&Mount<'_>| inner.same_place(outer);
    // Its own are the first of those that are equally long.
    let mut all = over.to_vec();
    let kept = base.iter();
    all.extend(kept.filter(|outer| !over.iter().any(|inner| same(outer, inner))));
    mount::sort(&mut all);
    pool.concat(&all, &[])
}

#[cfg(test)]
mod tests {
    use super::super::{HandlerList, Phase};
    use super::*;
    use crate::httpd::apr::pool::OwnedPool;
    use crate::httpd::module::command::Section;

    static OUTER: HandlerList<'static> = HandlerList { entries: &[] };
    static INNER: HandlerList<'static> = HandlerList { entries: &[] };

    static OUTER_BY_EXTENSION: [ByExtension<'static>; 1] = [ByExtension {
        phase: Phase::Content,
        extension: ".py",
        list: &OUTER,
    }];
    static INNER_BY_EXTENSION: [ByExtension<'static>; 1] = [ByExtension {
        phase: Phase::Content,
        extension: ".html",
        list: &INNER,
    }];

    fn samples() -> Vec<Directory<'static>> {
        let mut handlers = [None; super::super::PHASES];
        handlers[Phase::Content as usize] = Some(&OUTER);
        let outer = Directory {
            phases: Phase::Content.bit(),
            handlers,
            by_extension: &OUTER_BY_EXTENSION,
            filters: &[],
            common: Common {
                path: Some("['a']"),
                debug: Some(true),
                interpreter_per_directory: Some(true),
                options: &[("k", "1"), ("other", "o")],
                ..Common::default()
            },
            section: None,
            mount: None,
        };
        handlers[Phase::Content as usize] = Some(&INNER);
        handlers[Phase::Log as usize] = Some(&INNER);
        let inner = Directory {
            phases: Phase::Content.bit() | Phase::Log.bit(),
            handlers,
            by_extension: &INNER_BY_EXTENSION,
            filters: &[],
            common: Common {
                debug: Some(false),
                interpreter: Some("i"),
                options: &[("K", ""), ("new", "n")],
                ..Common::default()
            },
            section: Some(Section::Location {
                pattern: "/",
                regex: false,
            }),
            mount: None,
        };
        vec![Directory::default(), outer, inner]
    }

    #[test]
    fn an_empty_side_changes_nothing() {
        let pool = OwnedPool::new().unwrap();
        for sample in samples() {
            assert_eq!(sample.is_blank(), sample == Directory::default());
            assert_eq!(
                Directory::merge(pool.pool(), &Directory::default(), &sample),
                sample
            );
            assert_eq!(
                Directory::merge(pool.pool(), &sample, &Directory::default()),
                sample
            );
        }
    }

    #[test]
    fn merging_is_associative() {
        let pool = OwnedPool::new().unwrap();
        let pool = pool.pool();
        for a in &samples() {
            for b in &samples() {
                for c in &samples() {
                    let left = Directory::merge(pool, &Directory::merge(pool, a, b), c);
                    let right = Directory::merge(pool, a, &Directory::merge(pool, b, c));
                    let sorted = |d: &Directory<'_>| {
                        let mut options: Vec<(String, String)> = d
                            .common
                            .options
                            .iter()
                            .map(|&(k, v)| (k.to_lowercase(), v.into()))
                            .collect();
                        options.sort();
                        options
                    };
                    assert_eq!(left.phases, right.phases);
                    assert_eq!(left.handlers, right.handlers);
                    assert_eq!(sorted(&left), sorted(&right));
                    assert_eq!(left.common.debug, right.common.debug);
                    assert_eq!(left.section, right.section);
                }
            }
        }
    }

    #[test]
    fn the_inner_side_wins_list_by_list_and_key_by_key() {
        let pool = OwnedPool::new().unwrap();
        let all = samples();
        let merged = Directory::merge(pool.pool(), &all[1], &all[2]);
        let option = |key: &str| {
            let mut options = merged.common.options.iter();
            options
                .find(|(name, _)| name.eq_ignore_ascii_case(key))
                .map(|&(_, value)| value)
        };
        assert!(std::ptr::eq(
            merged.handlers[Phase::Content as usize].unwrap(),
            &raw const INNER
        ));
        assert_eq!(
            merged.by_extension.len(),
            2,
            "a plain list does not cover an extension's"
        );
        assert_eq!(merged.common.path, Some("['a']"));
        assert_eq!(merged.common.debug, Some(false));
        assert_eq!(
            option("k"),
            Some(""),
            "an empty value covers the inherited one"
        );
        assert_eq!(option("other"), Some("o"));
        assert_eq!(option("NEW"), Some("n"));
        assert_eq!(merged.common.interpreter_per_directory, Some(true));
    }
}
