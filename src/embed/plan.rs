//! What the configuration says of interpreters before they are made: their locks, and the pools.

use crate::config::{Gil, Server};
use std::collections::HashMap;

/// Owned by the process: made once in each child, when it starts.
#[derive(Default)]
pub(crate) struct Plan {
    default: Option<Gil>,
    named: HashMap<String, Gil>,
    pools: HashMap<String, usize>,
    /// Interpreters of pools that directives name: directive and name.
    members: Vec<(&'static str, String)>,
}

/// The pool and the number that the name of a pool's interpreter holds: `("pool", 1)` for `pool#1`.
pub(crate) fn pool_of(name: &str) -> Option<(&str, usize)> {
    let (pool, number) = name.rsplit_once('#')?;
    (!pool.is_empty()).then_some(())?;
    Some((pool, number.parse().ok()?))
}

impl Plan {
    /// Takes a server's settings over. The main server comes first; its own setting is that of every interpreter which has
    /// no other. `name` is how the server's interpreter is called.
    pub(crate) fn add(&mut self, server: &Server<'_>, name: Option<&str>, is_main: bool) {
        let interpreter = server.common.interpreter.or(name);
        match (server.gil, interpreter) {
            (Some(gil), _) if is_main => self.default = Some(gil),
            (Some(gil), Some(interpreter)) => drop(self.named.insert(interpreter.into(), gil)),
            _ => {}
        }
        for &(name, gil) in server.gils {
            self.named.insert(name.into(), gil);
        }
        for &(name, size) in server.pools {
            self.pools.insert(name.into(), size);
        }
        let members = server.members.iter();
        self.members
            .extend(members.map(|&(directive, name)| (directive, name.into())));
    }

    /// The lock of an interpreter; `name#1` belongs to a pool.
    pub(super) fn gil(&self, name: &str) -> Gil {
        let of_pool = pool_of(name).is_some_and(|(pool, _)| self.pools.contains_key(pool));
        let named = self.named.get(name).copied();
        if !OWN_IS_POSSIBLE {
            Gil::Shared
        } else if of_pool {
            Gil::Own
        } else {
            named.or(self.default).unwrap_or(Gil::Shared)
        }
    }

    pub(super) fn pools(&self) -> impl Iterator<Item = &str> {
        self.pools.keys().map(String::as_str)
    }

    /// How many interpreters a name stands for; None for one that is no pool.
    pub(super) fn pool_size(&self, name: &str) -> Option<usize> {
        let wanted = self.pools.get(name).copied();
        wanted.map(|size| if OWN_IS_POSSIBLE { size } else { 1 })
    }

    /// Are there the interpreters of pools that directives name?
    ///
    /// # Errors
    /// The directive, and what to do.
    pub(crate) fn check(&self) -> Result<(), String> {
        self.members.iter().try_for_each(|(directive, name)| {
            self.check_member(name)
                .map_err(|reason| format!("{directive} {name}: {reason}"))
        })
    }

    /// Is this no interpreter of a pool, or one that there is?
    ///
    /// # Errors
    /// Why there is none of that name.
    pub(super) fn check_member(&self, name: &str) -> Result<(), String> {
        let Some((pool, number)) = pool_of(name) else {
            return Ok(());
        };
        match self.pools.get(pool) {
            Some(size) if (1..=*size).contains(&number) => Ok(()),
            Some(size) => Err(format!("the pool {pool} has {size} interpreters")),
            None => Err(format!(
                "there is no PythonInterpreterPool {pool}; declare it, or choose a name without #"
            )),
        }
    }

    /// What the Python that is embedded cannot do, for the operator.
    pub(crate) fn warnings(&self) -> Vec<String> {
        if OWN_IS_POSSIBLE {
            return Vec::new();
        }
        let version = super::BUILT_VERSION;
        let own = |gil: &Gil| *gil == Gil::Own;
        let gil = self.default.iter().chain(self.named.values()).any(own);
        let gil = gil.then(|| {
            format!(
                "PythonInterpreterGIL own needs Python 3.12 or newer; this is {version}: all interpreters share one lock"
            )
        });
        let mut pools: Vec<_> = self.pools.iter().collect();
        pools.sort();
        let pools = pools.into_iter().map(|(name, _)| {
            format!(
                "PythonInterpreterPool {name} needs Python 3.12 or newer; this is {version}: one interpreter has to do"
            )
        });
        gil.into_iter().chain(pools).collect()
    }
}

/// Can interpreters have a lock of their own (PEP 684)?
const OWN_IS_POSSIBLE: bool = cfg!(Py_3_12);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_nearest_setting_counts() {
        let mut plan = Plan::default();
        let main = Server {
            gil: Some(Gil::Own),
            gils: &[("special", Gil::Shared)],
            pools: &[("pool", 2)],
            members: &[
                ("PythonInterpreter", "pool#2"),
                ("PythonInterpreter", "a#b"),
            ],
            ..Server::default()
        };
        let host = Server {
            gil: Some(Gil::Shared),
            ..Server::default()
        };
        plan.add(&main, Some("main.example"), true);
        plan.add(&host, Some("host.example"), false);
        let wanted = if OWN_IS_POSSIBLE {
            [Gil::Own, Gil::Shared, Gil::Shared, Gil::Own, Gil::Own]
        } else {
            [Gil::Shared; 5]
        };
        let found = ["other", "special", "host.example", "pool#1", "main#1"];
        assert_eq!(found.map(|name| plan.gil(name)), wanted);
        assert_eq!(plan.warnings().is_empty(), OWN_IS_POSSIBLE);
        assert_eq!(plan.check(), Ok(()));
        for missing in ["pool#0", "pool#3", "other#1"] {
            assert!(plan.check_member(missing).is_err(), "{missing}");
        }
    }
}
