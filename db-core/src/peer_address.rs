//! Where a peer can be reached: its endpoint's public key, and socket addresses.

use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::str::FromStr;

use thiserror::Error;

use crate::bytes::{Malformed, Put, Reader};

/// The most socket addresses of one peer.
pub const SOCKETS_MAX: usize = 8;

/// The public key (ed25519) of a peer's network endpoint. It authenticates connections, and is no writer's key.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct EndpointKey([u8; 32]);

/// Where a peer can be reached. As text `ID@IP:PORT`, several sockets separated by commas, `ID` in hexadecimal.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct PeerAddress {
    /// Who must answer there.
    pub endpoint: EndpointKey,
    /// Where to try, at most [`SOCKETS_MAX`].
    pub sockets: Vec<SocketAddr>,
}

/// Why a text is no peer's address.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum PeerAddressError {
    /// There is no `@` between key and sockets.
    #[error("a peer's address has the form ID@IP:PORT")]
    Form,
    /// What stands before the `@` is not 64 hexadecimal digits.
    #[error("the part before the @ must be 64 hexadecimal digits")]
    Endpoint,
    /// One of the sockets is not `IP:PORT`.
    #[error("the part after the @ must be IP:PORT, several separated by commas")]
    Socket,
    /// There are more than [`SOCKETS_MAX`] sockets.
    #[error("too many sockets: max={SOCKETS_MAX}")]
    TooMany,
}

impl EndpointKey {
    /// The key with these bytes.
    pub const fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// The bytes of the key.
    pub const fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }

    /// The first eight hexadecimal digits, for logs and tables.
    pub fn short(&self) -> String {
        data_encoding::HEXLOWER.encode(&self.0[..4])
    }
}

impl fmt::Display for EndpointKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&data_encoding::HEXLOWER.encode(&self.0))
    }
}

impl fmt::Debug for EndpointKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "EndpointKey({})", self.short())
    }
}

impl FromStr for EndpointKey {
    type Err = PeerAddressError;

    fn from_str(text: &str) -> Result<Self, PeerAddressError> {
        let bytes = data_encoding::HEXLOWER_PERMISSIVE.decode(text.as_bytes());
        let bytes = bytes.ok().and_then(|bytes| bytes.try_into().ok());
        bytes.map(Self).ok_or(PeerAddressError::Endpoint)
    }
}

impl fmt::Display for PeerAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}@", self.endpoint)?;
        for (place, socket) in self.sockets.iter().enumerate() {
            write!(f, "{}{socket}", if place == 0 { "" } else { "," })?;
        }
        Ok(())
    }
}

impl FromStr for PeerAddress {
    type Err = PeerAddressError;

    fn from_str(text: &str) -> Result<Self, PeerAddressError> {
        let (endpoint, rest) = text.trim().split_once('@').ok_or(PeerAddressError::Form)?;
        let endpoint = endpoint.parse()?;
        let mut sockets = Vec::new();
        for socket in rest.split(',') {
            if sockets.len() == SOCKETS_MAX {
                return Err(PeerAddressError::TooMany);
            }
            sockets.push(socket.trim().parse().map_err(|_| PeerAddressError::Socket)?);
        }
        Ok(Self { endpoint, sockets })
    }
}

impl PeerAddress {
    /// Appends the address: endpoint (32 bytes), number of sockets (u8), for each the family (u8: 4 or 6), the IP
    /// address (4 or 16 bytes) and the port (u16). Sockets beyond [`SOCKETS_MAX`] are left out.
    pub(crate) fn encode(&self, bytes: &mut Vec<u8>) {
        bytes.extend_from_slice(self.endpoint.as_bytes());
        bytes.put_u8(self.sockets.len().min(SOCKETS_MAX) as u8);
        for socket in self.sockets.iter().take(SOCKETS_MAX) {
            match socket.ip() {
                IpAddr::V4(ip) => {
                    bytes.put_u8(4);
                    bytes.extend_from_slice(&ip.octets());
                }
                IpAddr::V6(ip) => {
                    bytes.put_u8(6);
                    bytes.extend_from_slice(&ip.octets());
                }
            }
            bytes.put_u16(socket.port());
        }
    }

    pub(crate) fn decode(reader: &mut Reader<'_>) -> Result<Self, Malformed> {
        let endpoint = EndpointKey::from_bytes(reader.array()?);
        let count = usize::from(reader.u8()?);
        if count > SOCKETS_MAX {
            return Err(Malformed("too many sockets of a peer"));
        }
        let mut sockets = Vec::with_capacity(count);
        for _ in 0..count {
            let ip = match reader.u8()? {
                4 => IpAddr::from(reader.array::<4>()?),
                6 => IpAddr::from(reader.array::<16>()?),
                _ => return Err(Malformed("unknown family of addresses")),
            };
            sockets.push(SocketAddr::new(ip, reader.u16()?));
        }
        Ok(Self { endpoint, sockets })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_reads_back_and_what_is_no_address_says_why() {
        let id = "ab".repeat(32);
        let text = format!("{id}@127.0.0.1:7001,[::1]:7002");
        let address: PeerAddress = text.parse().unwrap();
        assert_eq!(address.to_string(), text);
        assert_eq!(address.sockets.len(), 2);
        let error = |text: &str| text.parse::<PeerAddress>().unwrap_err();
        assert_eq!(error("127.0.0.1:7001"), PeerAddressError::Form);
        assert_eq!(error("xyz@127.0.0.1:7001"), PeerAddressError::Endpoint);
        assert_eq!(error(&format!("{id}@localhost")), PeerAddressError::Socket);
        assert_eq!(error(&format!("{id}@{}", ["1.1.1.1:1"; 9].join(","))), PeerAddressError::TooMany);
    }
}
