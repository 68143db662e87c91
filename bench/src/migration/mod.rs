//! What moving a shop to a bucket costs.

mod beside;
mod many;
mod resumed;

pub(crate) use self::beside::beside_peers;
pub(crate) use self::many::{memory, plan};
pub(crate) use self::resumed::resume;

use std::path::Path;
use std::process::Command;

use crate::server::S3Server;
use crate::shop::Shop;

/// `stockroom migrate run --to s3`, towards a bucket.
fn migrate(shop: &Shop, program: &Path, s3: &S3Server, bucket: &str) -> Command {
    let mut command = shop.command(program, Some((s3, bucket)));
    command.args(["migrate", "run", "--to", "s3"]);
    command
}
