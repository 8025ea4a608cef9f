//! Where the server is, seen from the generator.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, ToSocketAddrs, UdpSocket};

/// Whether the server is on this machine, as far as its address tells.
pub(crate) fn is_local(url: &str) -> bool {
    let Ok(url) = reqwest::Url::parse(url) else { return false };
    let (Some(host), Some(port)) = (url.host_str(), url.port_or_known_default()) else {
        return false;
    };
    let host = host.trim_start_matches('[').trim_end_matches(']');
    (host, port).to_socket_addrs().is_ok_and(|mut addresses| addresses.any(is_own_address))
}

/// Whether `server` is on this machine: what is sent there would come from the very same address. Nothing is sent.
fn is_own_address(server: SocketAddr) -> bool {
    let any: IpAddr = match server {
        SocketAddr::V4(_) => Ipv4Addr::UNSPECIFIED.into(),
        SocketAddr::V6(_) => Ipv6Addr::UNSPECIFIED.into(),
    };
    let from = || {
        let socket = UdpSocket::bind((any, 0))?;
        socket.connect(server)?;
        socket.local_addr()
    };
    server.ip().is_loopback() || from().is_ok_and(|from: SocketAddr| from.ip() == server.ip())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_at_an_address_of_this_machine_is_on_it() {
        assert!(is_own_address("127.0.0.1:80".parse().unwrap()));
        assert!(is_own_address("[::1]:80".parse().unwrap()));
        // Of those that are for documentation.
        assert!(!is_own_address("192.0.2.7:80".parse().unwrap()));
        // The address that this machine has for others, if it has one.
        let socket = UdpSocket::bind("0.0.0.0:0").unwrap();
        if socket.connect("192.0.2.7:80").is_ok() {
            assert!(is_own_address(socket.local_addr().unwrap()));
        }
    }
}
