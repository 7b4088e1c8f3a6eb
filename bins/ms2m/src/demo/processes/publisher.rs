use crate::exit::Exit;
#[derive(clap::Args, Debug)]
pub(crate) struct PublisherArgs {}
pub(crate) fn run(_: &PublisherArgs) -> Exit {
    Exit::Failed
}
