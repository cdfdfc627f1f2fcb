//! The public key in a PEM text: SubjectPublicKeyInfo (RFC 5280, 4.1), as far as it is needed.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Rsa,
    Ec,
}

/// 1.2.840.113549.1.1.1 and 1.2.840.10045.2.1
const RSA: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01, 0x01];
const EC: &[u8] = &[0x2a, 0x86, 0x48, 0xce, 0x3d, 0x02, 0x01];

const SEQUENCE: u8 = 0x30;
const OBJECT_ID: u8 = 0x06;
const BIT_STRING: u8 = 0x03;

/// The kind of key, and the bits that the algorithm knows how to read.
pub fn parse(pem: &str) -> Option<(Kind, Vec<u8>)> {
    let (_, rest) = pem.split_once("-----BEGIN PUBLIC KEY-----")?;
    let (body, _) = rest.split_once("-----END PUBLIC KEY-----")?;
    let body: String = body.split_whitespace().collect();
    let der = STANDARD.decode(body).ok()?;
    let (outer, behind) = take(&der, SEQUENCE)?;
    let (algorithm, rest) = take(outer, SEQUENCE)?;
    let (id, _) = take(algorithm, OBJECT_ID)?;
    let (bits, end) = take(rest, BIT_STRING)?;
    let (0, bits) = bits.split_first()? else { return None };
    let kind = match id {
        RSA => Kind::Rsa,
        EC => Kind::Ec,
        _ => return None,
    };
    (behind.is_empty() && end.is_empty()).then(|| (kind, bits.to_vec()))
}

/// The content of the element that comes first, and what follows it. Lengths of up to two bytes: no key is longer.
fn take(der: &[u8], tag: u8) -> Option<(&[u8], &[u8])> {
    let (&first, rest) = der.split_first()?;
    let (&length, rest) = rest.split_first()?;
    let (length, rest) = match length {
        0..=0x7f => (usize::from(length), rest),
        0x81 => (usize::from(*rest.first()?), rest.get(1..)?),
        0x82 => (usize::from(u16::from_be_bytes([*rest.first()?, *rest.get(1)?])), rest.get(2..)?),
        _ => return None,
    };
    (first == tag).then(|| rest.split_at_checked(length)).flatten()
}
