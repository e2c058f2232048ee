//! The phases of a request: the directive of each, its default function, and after which results the next handler runs.

use crate::httpd::status::Status;

/// A phase in which Python can take part, in the order a request goes through them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Phase {
    PostReadRequest,
    Translate,
    HeaderParser,
    Init,
    Access,
    Authen,
    Authz,
    Type,
    Fixup,
    Content,
    Log,
    Cleanup,
}

/// How many phases there are.
pub(crate) const PHASES: usize = 12;

impl Phase {
    pub(crate) const ALL: [Phase; PHASES] = [
        Phase::PostReadRequest,
        Phase::Translate,
        Phase::HeaderParser,
        Phase::Init,
        Phase::Access,
        Phase::Authen,
        Phase::Authz,
        Phase::Type,
        Phase::Fixup,
        Phase::Content,
        Phase::Log,
        Phase::Cleanup,
    ];

    /// Gives the phase's bit in a set of phases.
    pub(crate) const fn bit(self) -> u32 {
        1 << self as u32
    }

    /// The directive, which is also what `req.phase` says.
    pub(crate) const fn directive(self) -> &'static str {
        match self {
            Phase::PostReadRequest => "PythonPostReadRequestHandler",
            Phase::Translate => "PythonTransHandler",
            Phase::HeaderParser => "PythonHeaderParserHandler",
            Phase::Init => "PythonInitHandler",
            Phase::Access => "PythonAccessHandler",
            Phase::Authen => "PythonAuthenHandler",
            Phase::Authz => "PythonAuthzHandler",
            Phase::Type => "PythonTypeHandler",
            Phase::Fixup => "PythonFixupHandler",
            Phase::Content => "PythonHandler",
            Phase::Log => "PythonLogHandler",
            Phase::Cleanup => "PythonCleanupHandler",
        }
    }

    /// The function that is called when a handler names only its module.
    pub(crate) const fn default_function(self) -> &'static str {
        match self {
            Phase::PostReadRequest => "postreadrequesthandler",
            Phase::Translate => "transhandler",
            Phase::HeaderParser => "headerparserhandler",
            Phase::Init => "inithandler",
            Phase::Access => "accesshandler",
            Phase::Authen => "authenhandler",
            Phase::Authz => "authzhandler",
            Phase::Type => "typehandler",
            Phase::Fixup => "fixuphandler",
            Phase::Content => "handler",
            Phase::Log => "loghandler",
            Phase::Cleanup => "cleanuphandler",
        }
    }

    /// Does the next handler of a list run after this result?
    pub(crate) fn goes_on_after(self, status: Status) -> bool {
        match self {
            Phase::Translate | Phase::Authen | Phase::Authz | Phase::Type => {
                status == Status::DECLINED
            }
            Phase::Content | Phase::Cleanup => status == Status::OK,
            _ => status == Status::OK || status == Status::DECLINED,
        }
    }

    /// May the list be chosen by the file name's extension (`| .ext`)? Not before there is a file name.
    pub(crate) fn knows_extensions(self) -> bool {
        !matches!(self, Phase::PostReadRequest | Phase::Translate)
    }

    pub(crate) fn from_directive(name: &str) -> Option<Phase> {
        Phase::ALL
            .into_iter()
            .find(|phase| phase.directive() == name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_phase_is_its_place_in_the_table_and_found_by_its_directive() {
        for (place, phase) in Phase::ALL.into_iter().enumerate() {
            assert_eq!(phase as usize, place);
            assert_eq!(Phase::from_directive(phase.directive()), Some(phase));
        }
        assert_eq!(Phase::from_directive("PythonNonsense"), None);
    }

    #[test]
    fn content_goes_on_after_ok_only() {
        assert!(Phase::Content.goes_on_after(Status::OK));
        assert!(!Phase::Content.goes_on_after(Status::DECLINED));
        assert!(
            Phase::Authen.goes_on_after(Status::DECLINED)
                && !Phase::Authen.goes_on_after(Status::OK)
        );
        assert!(
            Phase::Fixup.goes_on_after(Status::DECLINED) && Phase::Fixup.goes_on_after(Status::OK)
        );
    }
}
