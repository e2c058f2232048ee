//! What the configuration says of interpreters, gathered before any is made: their locks, pools and virtual environments.

use super::{Gil, Server};
use std::collections::{HashMap, HashSet};

/// The name of the first interpreter, which Python itself starts with.
pub(crate) const MAIN: &str = "main_interpreter";

/// What all servers say. Made when the configuration is checked, and once in each child, which keeps it.
#[derive(Default)]
pub(crate) struct Plan {
    default: Option<Gil>,
    named: HashMap<String, Gil>,
    pools: HashMap<String, usize>,
    /// The main server's PythonHome, which is the process's.
    home: Option<String>,
    /// The PythonHomes of interpreters, by name: of those of virtual hosts that have a PythonHome, and of the main server's.
    homes: HashMap<String, Home>,
    /// Interpreters that a host without a PythonHome names: interpreter and host.
    homeless: Vec<(String, String)>,
    /// The interpreters of virtual hosts that have no PythonHome.
    plain: HashSet<String>,
    /// Sentences about interpreters for which two hosts have different PythonHomes.
    conflicts: Vec<String>,
    /// Names such as `pool#1` that directives name: directive and name.
    members: Vec<(&'static str, String)>,
}

/// A PythonHome, and the host that has it.
struct Home {
    directory: String,
    host: String,
}

/// Splits the name of a pool's interpreter into pool and number: `("pool", 1)` of `pool#1`.
pub(crate) fn pool_of(name: &str) -> Option<(&str, usize)> {
    let (pool, number) = name.rsplit_once('#')?;
    (!pool.is_empty()).then_some(())?;
    Some((pool, number.parse().ok()?))
}

impl Plan {
    /// Adds what a server says. The main server comes first: its PythonInterpreterGIL without a name is that of all interpreters
    /// which have no other. `name` is how the server's interpreter is called.
    pub(crate) fn add(&mut self, server: &Server<'_>, name: Option<&str>, is_main: bool) {
        let interpreter = server.common.interpreter.or(name);
        match (server.gil, interpreter) {
            (Some(gil), _) if is_main => self.default = Some(gil),
            (Some(gil), Some(interpreter)) => drop(self.named.insert(interpreter.into(), gil)),
            _ => {}
        }
        self.add_home(
            server,
            interpreter,
            name.unwrap_or("without a name"),
            is_main,
        );
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

    fn add_home(
        &mut self,
        server: &Server<'_>,
        interpreter: Option<&str>,
        host: &str,
        is_main: bool,
    ) {
        let named = server.interpreters.iter().copied();
        if is_main {
            self.home = server.home.map(String::from);
            let named = named.map(|name| (name.into(), "the main server".into()));
            self.homeless.extend(named);
            // The main server's interpreter has two names: MAIN, and the server's own.
            for name in [Some(MAIN), interpreter].into_iter().flatten() {
                self.homes.insert(
                    name.into(),
                    Home {
                        directory: server.home.unwrap_or_default().into(),
                        host: "the main server".into(),
                    },
                );
            }
            return;
        }
        let host = format!("the virtual host {host}");
        let Some(directory) = server.home else {
            self.plain.extend(interpreter.map(String::from));
            let named = named.map(|name| (name.into(), host.clone()));
            self.homeless.extend(named);
            return;
        };
        for name in interpreter.into_iter().chain(named) {
            let home = Home {
                directory: directory.into(),
                host: host.clone(),
            };
            match self.homes.get(name) {
                Some(other) if other.directory != directory => {
                    let (first, other) = (&other.host, other.shown());
                    self.conflicts.push(format!(
                        "PythonHome {directory} of {host}: its interpreter {name} is {first}'s, too, which has {other}; give one of them another one with PythonInterpreter"
                    ));
                }
                Some(_) => {}
                None => drop(self.homes.insert(name.into(), home)),
            }
        }
    }

    /// Gives the PythonHome of a host; None where it is the process's.
    pub(crate) fn own_home<'h>(&self, host: Option<&'h str>) -> Option<&'h str> {
        host.filter(|host| Some(*host) != self.home.as_deref())
    }

    /// Finds the PythonHome of an interpreter, or a pool; None where it is the process's.
    fn home_of(&self, name: &str) -> Option<&str> {
        let name = pool_of(name).map_or(name, |(pool, _)| {
            if self.pools.contains_key(pool) {
                pool
            } else {
                name
            }
        });
        let home = self.homes.get(name)?.directory.as_str();
        self.own_home(Some(home).filter(|home| !home.is_empty()))
    }

    /// Finds the PythonHome for an interpreter that is made for a host: that which the configuration has for the interpreter.
    /// Where it does not know the interpreter, as with one that an .htaccess file names, the host's.
    pub(crate) fn home_for<'h>(&'h self, name: &str, host: Option<&'h str>) -> Option<&'h str> {
        let of_others = || {
            self.homes.contains_key(name)
                || self.plain.contains(name)
                || self.homeless.iter().any(|(other, _)| other == name)
        };
        self.home_of(name)
            .or_else(|| self.own_home(host).filter(|_| !of_others()))
    }

    /// Will there be interpreters with a lock of their own?
    pub(crate) fn has_own(&self) -> bool {
        let own = |gil: &Gil| *gil == Gil::Own;
        OWN_IS_POSSIBLE
            && (!self.pools.is_empty() || self.default.iter().chain(self.named.values()).any(own))
    }

    /// Decides whether an interpreter has a lock of its own; those of a pool (`name#1`) have.
    pub(crate) fn gil(&self, name: &str) -> Gil {
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

    pub(crate) fn pools(&self) -> impl Iterator<Item = &str> {
        self.pools.keys().map(String::as_str)
    }

    /// Gives the number of interpreters of a pool; None where there is no pool of that name.
    pub(crate) fn pool_size(&self, name: &str) -> Option<usize> {
        let wanted = self.pools.get(name).copied();
        wanted.map(|size| if OWN_IS_POSSIBLE { size } else { 1 })
    }

    /// Checks that hosts do not contradict each other, and that the pools' interpreters which directives name exist.
    ///
    /// # Errors
    /// A sentence: which directive it is, and what to do.
    pub(crate) fn check(&self) -> Result<(), String> {
        if let Some(conflict) = self.conflicts.first() {
            return Err(conflict.clone());
        }
        self.members.iter().try_for_each(|(directive, name)| {
            self.check_member(name)
                .map_err(|reason| format!("{directive} {name}: {reason}"))
        })
    }

    /// Checks that a name such as `pool#1` is that of an interpreter which the pool has; other names are right.
    ///
    /// # Errors
    /// Why there is none of that name.
    pub(crate) fn check_member(&self, name: &str) -> Result<(), String> {
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

    /// Makes the warnings for the operator: PythonHomes that hosts share without saying so, and what this Python cannot do.
    pub(crate) fn warnings(&self) -> Vec<String> {
        let mut warnings = self.shared_homes();
        if OWN_IS_POSSIBLE {
            return warnings;
        }
        let version = env!("MOD_PYTHON_PYTHON_VERSION");
        let own = |gil: &Gil| *gil == Gil::Own;
        let gil = self.default.iter().chain(self.named.values()).any(own);
        let gil = gil.then(|| {
            format!(
                "PythonInterpreterGIL own needs Python 3.13 or newer{WHY}; this is {version}: all interpreters share one lock"
            )
        });
        let mut pools: Vec<_> = self.pools.iter().collect();
        pools.sort();
        let pools = pools.into_iter().map(|(name, _)| {
            format!(
                "PythonInterpreterPool {name} needs Python 3.13 or newer{WHY}; this is {version}: one interpreter has to do"
            )
        });
        warnings.extend(gil.into_iter().chain(pools));
        warnings
    }

    /// Finds hosts that have no PythonHome, and use an interpreter that has another host's; a sentence for each.
    fn shared_homes(&self) -> Vec<String> {
        let shared = self.homeless.iter().filter_map(|(name, host)| {
            let home = self.homes.get(name).filter(|_| self.home_of(name).is_some())?;
            let (owner, shown) = (&home.host, home.shown());
            Some(format!(
                "the interpreter {name}, which {host} uses, has the {shown} of {owner}; say so there, too, or give one of them another one with PythonInterpreter"
            ))
        });
        let mut shared: Vec<_> = shared.collect();
        shared.dedup();
        shared
    }
}

impl Home {
    fn shown(&self) -> String {
        match self.directory.as_str() {
            "" => "no PythonHome".into(),
            directory => format!("PythonHome {directory}"),
        }
    }
}

/// Can interpreters have a lock of their own (PEP 684)? Python 3.12 could make them, but its own extension modules are not up
/// to it: `_datetime` keeps static types that two such interpreters change at once.
const OWN_IS_POSSIBLE: bool = cfg!(Py_3_13);

/// Tells operators of Python 3.12 why: that Python itself says it can.
const WHY: &str = " (with 3.12, importing datetime, decimal or sqlite3 in a second such interpreter corrupts memory)";

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
