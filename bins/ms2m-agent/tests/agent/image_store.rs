//! An agent whose image store cannot work does not begin.

use std::process::Command;

#[test]
fn without_the_stores_program_it_ends_and_says_what_to_install() {
    let home = tempfile::tempdir().unwrap();
    for (store, program) in
        [("containerd", "ctr, which comes with containerd"), ("cri-o", "skopeo is not here"), ("crio", "skopeo is not here")]
    {
        let output = Command::new(env!("CARGO_BIN_EXE_ms2m-agent"))
            .args(["--allow", "node-a", "--image-store", store, "--port", "0", "--operations-port", "0"])
            .env("STORAGE_DIR", home.path())
            .env("PATH", "/nonexistent")
            .output()
            .unwrap();
        let said = String::from_utf8(output.stderr).unwrap();
        assert!(!output.status.success() && said.contains(program), "{store}: {said}");
    }
}
