//! Where events may be sent, and whom to trust there.

use ipnet::IpNet;

use super::networks::networks;
use super::problem::fault;
use super::reader::{Noted, Reader};
use super::s3::{CaFile, read_ca_file};
use super::variable;

/// Where events may be sent, and whom to trust there.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct WebhookSettings {
    /// Networks that endpoints may lie in although they are no part of the public internet. What
    /// lies there may be spoken to without TLS.
    pub allowed_networks: Vec<IpNet>,
    /// Authorities to trust besides the system's.
    pub ca: Option<CaFile>,
}

pub(super) fn read(reader: &mut Reader<'_>) -> Result<WebhookSettings, Noted> {
    let allowed_networks = reader.read(&variable::WEBHOOK_ALLOWED_NETWORKS, "none", |text| {
        networks(text, || {
            fault(
                "has a network that holds every address, so that events could be sent anywhere without TLS",
                "Name the networks of your own receivers only; public addresses need no mention",
            )
        })
    });
    let ca = read_ca_file(reader, &variable::WEBHOOK_CA_FILE);
    Ok(WebhookSettings {
        allowed_networks: allowed_networks?,
        ca: ca?,
    })
}
