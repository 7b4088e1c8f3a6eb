//! Stands beside a counter in its pod, and numbers what that asks, in a connection over the pod's loopback interface: see `counter --beside`.
//!
//! How far it has come it knows in its memory alone, for as long as the connection lives. So it can be seen whether both have moved together.

use std::io::{BufRead as _, BufReader, Write as _};
use std::net::{TcpListener, TcpStream};
use std::process::ExitCode;

/// How often it says how far it is.
const SAID_EVERY: u64 = 10;

fn main() -> ExitCode {
    let Some(address) = std::env::args().nth(1) else {
        eprintln!("tally: name the address to listen at, for example 127.0.0.1:7001");
        return ExitCode::FAILURE;
    };
    let listener = match TcpListener::bind(&address) {
        Ok(listener) => listener,
        Err(error) => {
            eprintln!("tally: cannot listen at {address}: {error}");
            return ExitCode::FAILURE;
        }
    };
    println!("begun");
    for asking in listener.incoming() {
        let ended = asking.and_then(number);
        println!("{}", ended.map_or_else(|error| format!("broken: {error}"), |()| "ended".to_owned()));
    }
    ExitCode::SUCCESS
}

/// Answers each line with its number, from 1 on.
fn number(mut asking: TcpStream) -> std::io::Result<()> {
    println!("asked");
    let lines = BufReader::new(asking.try_clone()?).lines();
    for (line, number) in lines.zip(1_u64..) {
        line?;
        asking.write_all(format!("{number}\n").as_bytes())?;
        if number % SAID_EVERY == 0 {
            println!("{number}");
        }
    }
    Ok(())
}
