//! Which addresses a registry may send us to: what it names may be inside our network, where it could not look itself.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// From where an address can be reached.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Reach {
    Everywhere,
    /// A private network's.
    Inside,
    /// This machine's own.
    Machine,
    /// Neighbours' and the cloud's metadata, or no host's at all.
    Never,
}

/// Whether a registry at `registry` may have logins sent to `address`: to where it is itself, to the same private network, or to the open internet.
pub(crate) fn may_log_in_at(address: IpAddr, registry: IpAddr) -> bool {
    let (address, registry) = (address.to_canonical(), registry.to_canonical());
    match reach(address) {
        _ if address == registry => true,
        Reach::Everywhere => true,
        Reach::Inside => matches!(reach(registry), Reach::Inside | Reach::Machine),
        Reach::Machine => reach(registry) == Reach::Machine,
        Reach::Never => false,
    }
}

/// Whether content may be fetched from `address`: storage is often inside, but never this machine or its neighbours, unless the registry is there.
///
/// `registry_is_here`: the registry is on this machine.
pub(crate) fn may_hold_content(address: IpAddr, registry_is_here: bool) -> bool {
    match reach(address.to_canonical()) {
        Reach::Everywhere | Reach::Inside => true,
        Reach::Machine => registry_is_here,
        Reach::Never => false,
    }
}

/// Whether `host`, as it stands in an address, is this machine.
pub(crate) fn is_this_machine(host: &str) -> bool {
    let bare = host.trim_matches(['[', ']']);
    let named = bare.eq_ignore_ascii_case("localhost") || bare.to_ascii_lowercase().ends_with(".localhost");
    named || bare.parse().is_ok_and(|address: IpAddr| reach(address.to_canonical()) == Reach::Machine)
}

/// `host` when it is an address and no name.
pub(crate) fn literal(host: &str) -> Option<IpAddr> {
    host.trim_matches(['[', ']']).parse().ok()
}

fn reach(address: IpAddr) -> Reach {
    match address {
        IpAddr::V4(address) => reach_v4(address),
        IpAddr::V6(address) => reach_v6(address),
    }
}

/// Source: IANA IPv4 Special-Purpose Address Registry.
fn reach_v4(address: Ipv4Addr) -> Reach {
    let [a, b, ..] = address.octets();
    match (a, b) {
        (127, _) => Reach::Machine,
        (10, _) | (172, 16..=31) | (192, 168) | (100, 64..=127) | (198, 18 | 19) => Reach::Inside,
        (0 | 224..=255, _) | (169, 254) => Reach::Never,
        _ => Reach::Everywhere,
    }
}

/// Source: IANA IPv6 Special-Purpose Address Registry.
fn reach_v6(address: Ipv6Addr) -> Reach {
    let segments = address.segments();
    match segments {
        _ if address.is_loopback() => Reach::Machine,
        _ if address.is_unspecified() => Reach::Never,
        // A cloud's metadata, though it looks private.
        [0xfd00, 0xec2, 0, 0, 0, 0, 0, 0x254] => Reach::Never,
        [0xfc00..=0xfdff, ..] => Reach::Inside,
        [0xfe80..=0xffff, ..] => Reach::Never,
        // Addresses of IPv4 in those of IPv6 (NAT64, 6to4) reach what those reach.
        [0x64, 0xff9b, 0, 0, 0, 0, high, low] | [0x2002, high, low, ..] => reach_v4(Ipv4Addr::from((u32::from(high) << 16) | u32::from(low))),
        _ => Reach::Everywhere,
    }
}

#[cfg(test)]
mod tests {
    use super::{is_this_machine, may_hold_content, may_log_in_at};

    fn logs_in(address: &str, registry: &str) -> bool {
        may_log_in_at(address.parse().unwrap(), registry.parse().unwrap())
    }

    #[test]
    fn logins_go_inside_only_when_the_registry_is_there() {
        for public in ["93.184.216.34", "2606:2800:220:1::1"] {
            assert!(logs_in(public, "93.184.216.1") && logs_in(public, "10.0.0.1"), "{public}");
        }
        for inside in
            ["10.1.2.3", "172.16.0.1", "172.31.255.255", "192.168.1.1", "100.64.0.1", "fd00::1", "::ffff:10.1.2.3", "64:ff9b::a00:1", "2002:0a00:0001::"]
        {
            assert!(!logs_in(inside, "93.184.216.34"), "{inside}");
            assert!(logs_in(inside, "10.9.9.9") && logs_in(inside, "fd00::9"), "{inside}");
        }
        for machine in ["127.0.0.1", "127.9.9.9", "::1", "::ffff:127.0.0.1"] {
            assert!(!logs_in(machine, "93.184.216.34") && !logs_in(machine, "10.0.0.1") && logs_in(machine, "127.0.0.2"), "{machine}");
        }
        for never in [
            "169.254.169.254",
            "fe80::1",
            "0.0.0.0",
            "::",
            "224.0.0.1",
            "255.255.255.255",
            "ff02::1",
            "fd00:ec2::254",
            "::ffff:169.254.169.254",
            "64:ff9b::a9fe:a9fe",
        ] {
            assert!(!logs_in(never, "93.184.216.34") && !logs_in(never, "10.0.0.1"), "{never}");
        }
        assert!(logs_in("169.254.1.1", "169.254.1.1"), "where the registry is itself");
    }

    #[test]
    fn content_comes_from_private_storage_but_never_from_this_machine_or_its_neighbours() {
        let holds = |address: &str, here| may_hold_content(address.parse().unwrap(), here);
        assert!(holds("10.0.0.1", false) && holds("1.1.1.1", false) && holds("127.0.0.1", true));
        assert!(!holds("127.0.0.1", false) && !holds("::1", false) && !holds("169.254.169.254", true) && !holds("fe80::1", false));
        assert!(is_this_machine("localhost") && is_this_machine("[::1]") && is_this_machine("127.0.0.5") && !is_this_machine("example.org"));
    }
}
