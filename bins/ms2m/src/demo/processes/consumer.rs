use crate::exit::Exit;
#[derive(clap::Args, Debug)]
pub(crate) struct ConsumerArgs {}
pub(crate) fn run(_: ConsumerArgs) -> Exit {
    Exit::Failed
}
