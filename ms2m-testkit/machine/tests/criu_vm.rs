//! The virtual machine. One boot checks everything: a boot takes most of a minute.

use std::net::TcpStream;
use std::process::Command;

use ms2m_testkit_machine::{Bundle, Options, vm};

fn run(runtime: &str, words: &[&str]) {
    let status = Bundle::command(runtime).args(words).status().expect("it starts");
    assert!(status.success(), "{runtime} {words:?} ended with {status}");
}

#[test]
fn pre_dump_bundles_and_the_broker_work() {
    vm::inside(&Options::default().rabbitmq(), |here| {
        let tracked = Command::new("criu").args(["check", "--feature", "mem_dirty_track"]).status().expect("criu");
        assert!(tracked.success(), "its kernel tracks dirty pages");
        let broker = here.management_url();
        TcpStream::connect(broker.strip_prefix("http://").expect("a URL")).expect("the host's broker");
        let bundle = Bundle::new("/tmp/bundle", ["sleep", "1000"]).expect("a bundle");
        run("runc", &["run", "--detach", "--bundle", bundle.path().to_str().expect("UTF-8"), "one"]);
        run("runc", &["checkpoint", "--pre-dump", "--image-path", "/tmp/before", "one"]);
        run("runc", &["checkpoint", "--image-path", "/tmp/image", "--parent-path", "../before", "--leave-running", "one"]);
        run("runc", &["delete", "--force", "one"]);
        for image in ["/tmp/before", "/tmp/image"] {
            std::fs::remove_dir_all(image).expect("an image");
        }
    });
}
