//! Starts and ends a real RabbitMQ.

use std::net::{Ipv4Addr, TcpStream};
use std::time::Instant;

use ms2m_testkit_rabbitmq::{Options, RabbitMqServer, Stop};

#[test]
fn starts_restarts_and_leaves_nothing() {
    let begun = Instant::now();
    let mut server = RabbitMqServer::start(&Options::default()).expect("a server");
    println!("start {:?}", begun.elapsed());
    let port: u16 = server.management_url().rsplit(':').next().and_then(|port| port.parse().ok()).expect("a port");
    for how in [Stop::Graceful, Stop::Kill] {
        let begun = Instant::now();
        server.stop(how);
        println!("{how:?} stop {:?}", begun.elapsed());
        assert!(TcpStream::connect((Ipv4Addr::LOCALHOST, port)).is_err(), "it is stopped");
        let begun = Instant::now();
        server.restart(how).expect("the same server");
        println!("start {:?}", begun.elapsed());
    }
    let begun = Instant::now();
    drop(server);
    println!("drop {:?}", begun.elapsed());
    assert!(TcpStream::connect((Ipv4Addr::LOCALHOST, port)).is_err(), "it is gone");
}
