//! Trusted proxies: what a request was before a proxy passed it on, where the proxy may be believed.
//!
//! One option of each gateway names networks (`mod_python.wsgi.trusted_proxies`), another one the headers that these proxies
//! set themselves (`….trusted_headers`). Once the first is set, no `X-Forwarded-…` or the like that somebody else has sent reaches an application.
//! Nothing here touches a request: all are functions of bytes.

use super::gateways::Gateway;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// Whom to believe, and what.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Proxies {
    networks: Vec<Network>,
    /// Which headers may be believed, by `Field`.
    believed: [bool; FIELDS.len()],
}

/// The headers that can be believed.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Field {
    For,
    Proto,
    Host,
    Port,
    Prefix,
}

const FIELDS: [(&str, Field); 5] = [
    ("x-forwarded-for", Field::For),
    ("x-forwarded-proto", Field::Proto),
    ("x-forwarded-host", Field::Host),
    ("x-forwarded-port", Field::Port),
    ("x-forwarded-prefix", Field::Prefix),
];

impl Proxies {
    /// Reads the two options of a gateway: networks such as `10.0.0.0/8` or addresses, and names of headers, with spaces or commas between.
    ///
    /// # Errors
    /// What is wrong with which option.
    pub(crate) fn parse(
        gateway: &Gateway,
        networks: &str,
        headers: &str,
    ) -> Result<Proxies, String> {
        let mut proxies = Proxies::default();
        for text in words(networks) {
            let network = Network::parse(text);
            let network = network.ok_or_else(|| {
                let name = gateway.trusted_proxies;
                format!(
                    "PythonOption {name}: {text:?} is no address and no network such as 10.0.0.0/8"
                )
            })?;
            proxies.networks.push(network);
        }
        for text in words(headers) {
            let field = field(text.as_bytes());
            let believed = field.and_then(|field| proxies.believed.get_mut(field as usize));
            *believed.ok_or_else(|| {
                let known = FIELDS.map(|(name, _)| name).join(", ");
                let name = gateway.trusted_headers;
                format!("PythonOption {name}: {text:?} is none of {known}")
            })? = true;
        }
        Ok(proxies)
    }

    /// Does this address belong to a proxy?
    fn knows(&self, address: IpAddr) -> bool {
        let (address, bits) = bits(address);
        self.networks
            .iter()
            .any(|network| network.family == bits && network.holds(address))
    }

    /// Reads what the proxy at `peer` says in its headers (name and value, in the order in which they came).
    pub(crate) fn hear<'h>(
        &self,
        peer: &[u8],
        headers: impl Iterator<Item = (&'h [u8], &'h [u8])>,
    ) -> Told<'h> {
        let mut told = Told {
            believed: [false; FIELDS.len()],
            remote: None,
            https: None,
            host: None,
            port: None,
            prefix: None,
        };
        if !address(peer).is_some_and(|(peer, _)| self.knows(peer)) {
            return told;
        }
        told.believed = self.believed;
        let mut lists: [Vec<&[u8]>; FIELDS.len()] = Default::default();
        for (name, value) in headers {
            let field = field(name).filter(|&field| told.believes(field));
            if let Some(list) = field.and_then(|field| lists.get_mut(field as usize)) {
                list.extend(value.split(|&byte| byte == b',').map(<[u8]>::trim_ascii));
            }
        }
        let [all, proto, host, port, prefix] = lists;
        // Each proxy adds the address that it was called from: the first one from the end that is no proxy's is the client's.
        for text in all.iter().rev() {
            told.remote = address(text).or(told.remote);
            if !address(text).is_some_and(|(found, _)| self.knows(found)) {
                break;
            }
        }
        // Of a list, what the nearest proxy has said: nobody else has looked at what comes before.
        let pick = |list: &[&'h [u8]]| list.last().copied();
        told.https = pick(&proto).and_then(|proto| match proto.to_ascii_lowercase().as_slice() {
            b"https" | b"wss" => Some(true),
            b"http" | b"ws" => Some(false),
            _ => None,
        });
        told.host = pick(&host).filter(|host| is_host(host));
        told.port = pick(&port).and_then(number);
        told.prefix = pick(&prefix).and_then(prefix_of);
        told
    }
}

/// What a proxy's headers say of the request that it has passed on.
pub(crate) struct Told<'h> {
    believed: [bool; FIELDS.len()],
    /// The client's address, and its port if that was told.
    pub(crate) remote: Option<(IpAddr, Option<u16>)>,
    pub(crate) https: Option<bool>,
    /// With its port, if it has one.
    pub(crate) host: Option<&'h [u8]>,
    pub(crate) port: Option<u16>,
    /// Without a slash at its end; never empty.
    pub(crate) prefix: Option<&'h [u8]>,
}

impl Told<'_> {
    fn believes(&self, field: Field) -> bool {
        self.believed.get(field as usize).copied() == Some(true)
    }

    /// May an application see this header?
    pub(crate) fn shows(&self, name: &[u8]) -> bool {
        !is_forwarding(name) || field(name).is_some_and(|field| self.believes(field))
    }
}

/// Is it a header by which proxies say what they know: of the client's address, the host, scheme, port or path that was asked
/// for? Those of httpd, nginx, HAProxy, Envoy, IIS, Squid, WebLogic and the large providers' load balancers.
pub(crate) fn is_forwarding(name: &[u8]) -> bool {
    const BEGINNINGS: [&str; 7] = [
        "x-forwarded-",
        "x-original-",
        "x-real-",
        "x-envoy-",
        "x-azure-",
        "cf-connecting-",
        "fly-",
    ];
    const OTHERS: [&str; 48] = [
        "forwarded",
        "forwarded-for",
        "forwarded-host",
        "forwarded-proto",
        "x-forwarded",
        "x-forward-for",
        "x-client-ip",
        "x-client-port",
        "x-cluster-client-ip",
        "x-remote-ip",
        "x-remote-addr",
        "x-remote-port",
        "x-remote-host",
        "x-originating-ip",
        "x-proxyuser-ip",
        "x-appengine-user-ip",
        "client-ip",
        "true-client-ip",
        "proxy-client-ip",
        "fastly-client-ip",
        "wl-proxy-client-ip",
        "cloudfront-viewer-address",
        "x-scheme",
        "x-url-scheme",
        "x-proto",
        "x-protocol",
        "x-https",
        "x-ssl",
        "x-arr-ssl",
        "front-end-https",
        "fastly-ssl",
        "cf-visitor",
        "cloudfront-forwarded-proto",
        "wl-proxy-ssl",
        "https",
        "x-host",
        "x-http-host",
        "x-http-host-override",
        "x-host-override",
        "x-server-name",
        "x-port",
        "x-server-port",
        "x-script-name",
        "x-path-prefix",
        "x-base-path",
        "x-rewrite-url",
        "x-request-uri",
        "script-name",
    ];
    let begins = |beginning: &&str| {
        let start = name.split_at_checked(beginning.len());
        start.is_some_and(|(start, _)| start.eq_ignore_ascii_case(beginning.as_bytes()))
    };
    let is = |other: &&str| name.eq_ignore_ascii_case(other.as_bytes());
    BEGINNINGS.iter().any(begins) || OTHERS.iter().any(is)
}

/// Splits `host`, `host:port` or `[::1]:port` into host and port.
pub(crate) fn split_host(host: &[u8]) -> (&[u8], Option<u16>) {
    let colon = host.iter().rposition(|&byte| byte == b':');
    let parts = colon.and_then(|place| host.split_at_checked(place));
    match parts {
        Some((name, port)) if !port.contains(&b']') => (
            name,
            port.split_first().and_then(|(_, digits)| number(digits)),
        ),
        _ => (host, None),
    }
}

/// Can it be a Host? No character of it may end the host's part of a URL, such as `/` or `@`.
fn is_host(host: &[u8]) -> bool {
    let (name, _) = split_host(host);
    let plain = |byte: &u8| byte.is_ascii_alphanumeric() || b"-._~:[]".contains(byte);
    !name.is_empty() && host.iter().all(plain)
}

/// Reads a port: 1 to 65535.
pub(crate) fn number(digits: &[u8]) -> Option<u16> {
    if digits.is_empty() || !digits.iter().all(u8::is_ascii_digit) {
        return None;
    }
    let number = std::str::from_utf8(digits).ok()?.parse().ok()?;
    (number != 0).then_some(number)
}

/// Checks a path to put before SCRIPT_NAME. None for `//host`, which a browser takes for another site.
fn prefix_of(text: &[u8]) -> Option<&[u8]> {
    let end = text.iter().rposition(|&byte| byte != b'/')?;
    let prefix = text.get(..=end)?;
    let plain = prefix
        .iter()
        .all(|byte| byte.is_ascii_graphic() && *byte != b'\\');
    let rooted = prefix.starts_with(b"/") && !prefix.starts_with(b"//");
    (rooted && plain && !prefix.contains(&b'?') && !prefix.contains(&b'#')).then_some(prefix)
}

fn field(name: &[u8]) -> Option<Field> {
    let mut all = FIELDS.iter();
    all.find(|(known, _)| name.eq_ignore_ascii_case(known.as_bytes()))
        .map(|&(_, field)| field)
}

fn words(text: &str) -> impl Iterator<Item = &str> {
    text.split([' ', '\t', ',']).filter(|word| !word.is_empty())
}

/// Reads an address, and its port if there is one: `10.0.0.1`, `10.0.0.1:80`, `::1`, `[::1]`, `[::1]:80`.
fn address(text: &[u8]) -> Option<(IpAddr, Option<u16>)> {
    let text = std::str::from_utf8(text).ok()?;
    if let Ok(address) = text.parse() {
        return Some((address, None));
    }
    let (host, port) = split_host(text.as_bytes());
    let host = std::str::from_utf8(host).ok()?;
    let bare = host
        .strip_prefix('[')
        .and_then(|host| host.strip_suffix(']'));
    let address = match bare {
        Some(bare) => IpAddr::V6(bare.parse().ok()?),
        None => IpAddr::V4(host.parse().ok()?),
    };
    Some((address, port))
}

/// A network: the addresses that begin with the same bits.
#[derive(Debug, PartialEq, Eq)]
struct Network {
    start: u128,
    mask: u128,
    /// How many bits an address has: 32 or 128.
    family: u32,
}

impl Network {
    fn parse(text: &str) -> Option<Network> {
        let (start, length) = match text.split_once('/') {
            Some((start, length)) => (start, Some(length)),
            None => (text, None),
        };
        let whole: IpAddr = start.parse().ok()?;
        let (start, family) = bits(whole);
        let length = match length {
            // The length counts the bits of the address as it is written.
            Some(length) => {
                let written = if whole.is_ipv4() { 32 } else { 128 };
                let length = number(length.as_bytes()).or((length == "0").then_some(0))?;
                let length = u32::from(length);
                (length <= written).then_some(())?;
                length.checked_sub(written - family)?
            }
            None => family,
        };
        let mask = u128::MAX.checked_shl(family - length).unwrap_or(0);
        // 10.0.0.1/8 is more likely a mistake than a network.
        (start & !mask == 0).then_some(Network {
            start,
            mask,
            family,
        })
    }

    fn holds(&self, address: u128) -> bool {
        address & self.mask == self.start
    }
}

/// Gives an address as a number, and how many bits it has. An IPv4 address that is written as one of IPv6 (::ffff:10.0.0.1) is one
/// of IPv4.
fn bits(address: IpAddr) -> (u128, u32) {
    let of_v4 = |address: Ipv4Addr| (u128::from(u32::from(address)), 32);
    match address {
        IpAddr::V4(address) => of_v4(address),
        IpAddr::V6(address) => match address.to_ipv4_mapped() {
            Some(address) => of_v4(address),
            None => (u128::from(address), Ipv6Addr::BITS),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::gateways::SOME;

    const ALL: &str =
        "x-forwarded-for X-Forwarded-Proto x-forwarded-host,x-forwarded-port x-forwarded-prefix";

    fn proxies(networks: &str) -> Proxies {
        Proxies::parse(&SOME, networks, ALL).unwrap()
    }

    #[test]
    fn networks() {
        let some = proxies("10.0.0.0/8, ::1 192.0.2.7 fd00::/8 ::ffff:198.51.100.0/120");
        for inside in [
            "10.255.0.1",
            "::1",
            "192.0.2.7",
            "::ffff:10.1.1.1",
            "fd12::1",
            "198.51.100.9",
        ] {
            assert!(some.knows(inside.parse().unwrap()), "{inside}");
        }
        for outside in [
            "11.0.0.1",
            "::2",
            "192.0.2.8",
            "fe00::1",
            "::10.0.0.1",
            "198.51.101.0",
        ] {
            assert!(!some.knows(outside.parse().unwrap()), "{outside}");
        }
        assert!(proxies("0.0.0.0/0").knows("203.0.113.9".parse().unwrap()));
        assert!(!proxies("0.0.0.0/0").knows("::1".parse().unwrap()));
        assert!(proxies("::/0").knows("::1".parse().unwrap()));
        for bad in [
            "10.0.0.0/33",
            "10.0.0.1/8",
            "proxy.example",
            "10.0.0",
            "::/129",
            "10.0.0.0/",
            "10.0.0.0/x",
            "::ffff:0.0.0.0/64",
        ] {
            let error = Proxies::parse(&SOME, bad, "").unwrap_err();
            assert!(
                error.contains(SOME.trusted_proxies) && error.contains(bad),
                "{error}"
            );
        }
        assert!(
            Proxies::parse(&SOME, "", "x-real-ip")
                .unwrap_err()
                .contains(SOME.trusted_headers)
        );
    }

    fn heard<'h>(some: &Proxies, peer: &str, headers: &[(&'h str, &'h str)]) -> Told<'h> {
        let headers = headers
            .iter()
            .map(|(name, value)| (name.as_bytes(), value.as_bytes()));
        some.hear(peer.as_bytes(), headers)
    }

    #[test]
    fn the_client_is_the_last_that_is_no_proxy() {
        let some = proxies("10.0.0.0/8");
        let headers = [
            ("X-Forwarded-For", "1.1.1.1, 203.0.113.5:99"),
            ("x-forwarded-for", "10.0.0.2"),
            ("X-Forwarded-Proto", "http, https"),
            ("X-Forwarded-Host", "a.example:8443"),
            ("X-Forwarded-Port", "99999"),
            ("X-Forwarded-Prefix", "/app/"),
        ];
        let told = heard(&some, "10.0.0.1", &headers);
        assert_eq!(
            told.remote,
            Some(("203.0.113.5".parse().unwrap(), Some(99)))
        );
        assert_eq!(told.https, Some(true));
        assert_eq!(
            told.host.map(split_host),
            Some((&b"a.example"[..], Some(8443)))
        );
        assert_eq!((told.port, told.prefix), (None, Some(&b"/app"[..])));
        let told = heard(&some, "11.0.0.1", &headers);
        assert!(told.remote.is_none() && told.https.is_none() && told.host.is_none());
        assert!(!told.shows(b"X-Forwarded-For") && told.shows(b"X-Other"));
        let told = heard(&some, "10.0.0.1", &[("X-Forwarded-For", "evil, 10.0.0.9")]);
        assert_eq!(told.remote, Some(("10.0.0.9".parse().unwrap(), None)));
    }

    #[test]
    fn what_cannot_be_is_not_believed() {
        let some = proxies("10.0.0.0/8");
        for (name, value) in [
            ("X-Forwarded-Host", "a.example/evil"),
            ("X-Forwarded-Host", "a@b"),
            ("X-Forwarded-Host", ""),
            ("X-Forwarded-Host", ":80"),
            ("X-Forwarded-Prefix", "//evil.example"),
            ("X-Forwarded-Prefix", "app"),
            ("X-Forwarded-Prefix", "/"),
            ("X-Forwarded-Prefix", "/a\u{e9}"),
            ("X-Forwarded-Proto", "javascript"),
            ("X-Forwarded-Port", "+1"),
            ("X-Forwarded-Port", "0"),
        ] {
            let told = heard(&some, "10.0.0.1", &[(name, value)]);
            assert!(
                told.host.is_none() && told.prefix.is_none(),
                "{name} {value}"
            );
            assert!(
                told.https.is_none() && told.port.is_none(),
                "{name} {value}"
            );
        }
        assert_eq!(split_host(b"[::1]"), (&b"[::1]"[..], None));
        assert_eq!(split_host(b"[::1]:8"), (&b"[::1]"[..], Some(8)));
    }

    /// A host, prefix or port that is believed cannot lead elsewhere, whatever has been sent.
    fn check(input: &[u8]) {
        let some = proxies("10.0.0.0/8");
        let parts: Vec<&[u8]> = input.split(|&byte| byte == b'\n').collect();
        let headers = FIELDS
            .iter()
            .zip(&parts)
            .map(|((name, _), value)| (name.as_bytes(), *value));
        let told = some.hear(b"10.0.0.1", headers);
        let safe = |text: &[u8]| {
            text.iter()
                .all(|byte| byte.is_ascii_graphic() && *byte != b',')
        };
        assert!(
            told.host
                .is_none_or(|host| safe(host) && !host.contains(&b'/') && !host.contains(&b'@'))
        );
        assert!(told.prefix.is_none_or(|prefix| safe(prefix)
            && prefix.starts_with(b"/")
            && !prefix.starts_with(b"//")
            && !prefix.ends_with(b"/")));
        assert_ne!(told.port, Some(0));
    }

    #[test]
    fn fuzzed() {
        crate::fuzz::run("proxies", check);
    }
}
