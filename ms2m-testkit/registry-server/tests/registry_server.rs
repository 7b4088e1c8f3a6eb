//! Starts and ends a real registry.

use std::net::TcpStream;

use ms2m_testkit_registry::{Options, RegistryServer};

#[test]
fn starts_and_leaves_nothing() {
    let server = RegistryServer::start(&Options::default()).expect("a server");
    let (address, data) = (server.address(), server.data());
    TcpStream::connect(address).expect("it listens");
    drop(server);
    assert!(TcpStream::connect(address).is_err(), "it is gone");
    assert!(!data.exists() && !data.parent().is_some_and(|directory| directory.exists()), "so is its directory");
}
