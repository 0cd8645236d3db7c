//! The vectors of RFC 3711 and RFC 7714, and what must not open.

use proptest::prelude::*;

use super::*;

fn hex(text: &str) -> Vec<u8> {
    let digits: Vec<u8> = text.bytes().filter(u8::is_ascii_hexdigit).collect();
    digits.chunks(2).map(|pair| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap()).collect()
}

const PROFILES: [Profile; 3] = [Profile::Aes128CmSha1, Profile::Aes128Gcm, Profile::Aes256Gcm];
/// RFC 7714 §16: one packet, its salt, its two keys.
const PACKET: &str = "8040f17b 8041f8d3 5501a0b2 47616c6c 69612065 7374206f 6d6e6973 20646976 69736120 696e2070 \
                      61727465 73207472 6573";
const SALT: [u8; 12] = *b"Quid pro quo";

fn key(len: u8) -> Vec<u8> {
    (0..len).collect()
}

fn sealer(profile: Profile, key: &[u8]) -> Sealer {
    let gcm = || Cipher::gcm(key, SALT).unwrap();
    Sealer { profile, rtp: gcm(), rtcp: gcm(), index: 0 }
}

/// RFC 3711 appendix B.3.
#[test]
fn keys_are_derived_as_the_standard_has_it() {
    let (key, salt) = (hex("E1F97A0D3E018BE0D64FA32C06DE4139"), hex("0EC675AD498AFEEBB6960B3AABE6"));
    for (label, expected) in [
        (0, "C61E7A93744F39EE10734AFE3FF7A087"),
        (2, "30CBBC08863D8C85D49DB34A9AE1"),
        (1, "CEBE321F6FF7716B6FD4AB49AF256A156D38BAA48F0A0ACF3C34E2359E6CDBCE"),
    ] {
        let expected = hex(expected);
        let mut derived = vec![0; expected.len()];
        derive(&key, &salt, label, &mut derived).unwrap();
        assert_eq!(derived, expected, "label {label}");
    }
}

/// RFC 7714 §16.1.1 and §16.2.1.
#[test]
fn aead_packets_are_those_of_the_standard() {
    let packets = [
        (
            Profile::Aes128Gcm,
            key(16),
            "8040f17b 8041f8d3 5501a0b2 f24de3a3 fb34de6c acba861c 9d7e4bca be633bd5 0d294e6f 42a5f47a 51c7d19b \
             36de3adf 8833899d 7f27beb1 6a9152cf 765ee439 0cce",
        ),
        (
            Profile::Aes256Gcm,
            key(32),
            "8040f17b 8041f8d3 5501a0b2 32b1de78 a822fe12 ef9f78fa 332e33aa b1801238 9a58e2f3 b50b2a02 76ffae0f \
             1ba63799 b87b7aa3 db36dfff d6b0f9bb 7878d7a7 6c13",
        ),
    ];
    for (profile, key, expected) in packets {
        let mut packet = hex(PACKET);
        assert!(sealer(profile, &key).seal(&mut packet, 0, 12, 0x5501_a0b2, 0xf17b));
        assert_eq!(packet, hex(expected), "{profile:?}");
    }
}

/// RFC 7714 §17.1.
#[test]
fn an_aead_control_packet_is_that_of_the_standard() {
    let plain = "81c8000d 4d617273 4e545031 4e545032 52545020 0000042a 0000e930 4c756e61 deadbeef deadbeef deadbeef \
                 deadbeef deadbeef";
    let sealed = "81c8000d 4d617273 63e94885 dcdab67c a727d766 2f6b7e99 7ff5c0f7 6c06f32d c676a5f1 730d6fda 4ce09b46 \
                  86303ded 0bb9275b c84aa458 96cf4d2f c5abf872 45d9eade 800005d4";
    let mut sealer = sealer(Profile::Aes128Gcm, &key(16));
    sealer.index = 0x5d4;
    let mut packet = hex(plain);
    assert!(sealer.seal_rtcp(&mut packet));
    assert_eq!(packet, hex(sealed));
    let gcm = || Cipher::gcm(&key(16), SALT).unwrap();
    let mut opener = Opener { rtp: gcm(), rtcp: gcm(), next: 0, seen: 0 };
    assert_eq!(opener.open_rtcp(&mut packet).unwrap(), hex(plain));
}

#[test]
fn the_two_sides_of_a_handshake_understand_each_other() {
    for profile in PROFILES {
        let material: Vec<u8> = (0..profile.material_len() as u8).collect();
        for client in [true, false] {
            let mut sealer = Sealer::new(profile, &material, client).unwrap();
            let mut opener = Opener::new(profile, &material, client).unwrap();
            let mut others = Opener::new(profile, &material, !client).unwrap();
            let mut packet = [&[1; 3][..], &hex(PACKET)].concat();
            assert!(sealer.seal(&mut packet, 3, 12, 9, 0x1_0000_fffe));
            assert_eq!(packet.len(), 3 + hex(PACKET).len() + profile.tag_len());
            assert_eq!(others.open(&mut packet.clone()[3..], 12, 9, 0x1_0000_fffe), Err(OpenError::Forged));
            assert_eq!(
                opener.open(&mut packet.clone()[3..], 12, 9, 0xfffe),
                Err(OpenError::Forged),
                "another wrap"
            );
            assert_eq!(opener.open(&mut packet[3..], 12, 9, 0x1_0000_fffe).unwrap(), hex(PACKET));
            let mut report = vec![0x80, 201, 0, 2, 1, 2, 3, 4, 5, 6, 7, 8];
            let plain = report.clone();
            assert!(sealer.seal_rtcp(&mut report));
            assert!(report.len() <= plain.len() + RTCP_OVERHEAD_MAX);
            assert_eq!(others.open_rtcp(&mut report.clone()), Err(OpenError::Forged));
            assert_eq!(opener.open_rtcp(&mut report.clone()).unwrap(), plain);
            assert_eq!(opener.open_rtcp(&mut report), Err(OpenError::Replayed(0)));
        }
    }
    assert_eq!(Sealer::new(Profile::Aes128Gcm, &[0; 55], true).err(), Some(KeyError));
}

#[test]
fn control_packets_may_come_late_but_once() {
    let material = [7; 56];
    let mut sealer = Sealer::new(Profile::Aes128Gcm, &material, true).unwrap();
    let mut opener = Opener::new(Profile::Aes128Gcm, &material, true).unwrap();
    let mut packets: Vec<Vec<u8>> = (0..200)
        .map(|_| {
            let mut packet = vec![0x80, 201, 0, 1, 1, 2, 3, 4];
            assert!(sealer.seal_rtcp(&mut packet));
            packet
        })
        .collect();
    let mut open = |n: usize| opener.open_rtcp(&mut packets[n].clone()).is_ok();
    assert!(open(2) && open(0) && open(1));
    assert!(!open(1) && !open(2));
    assert!(open(150) && !open(86) && open(87) && !open(87));
    assert!(open(199) && open(198));
    packets.clear();
}

proptest! {
    #[test]
    fn what_was_changed_does_not_open(at in 0..60_usize, bit in 0..8_u32, cut in 0..60_usize) {
        for profile in PROFILES {
            let material = vec![5; profile.material_len()];
            let sealer = Sealer::new(profile, &material, true).unwrap();
            let mut opener = Opener::new(profile, &material, true).unwrap();
            let mut packet = hex(PACKET);
            sealer.seal(&mut packet, 0, 12, 1, 1);
            let mut short = packet[..cut.min(packet.len() - 1)].to_vec();
            prop_assert!(opener.open_rtcp(&mut short.clone()).is_err());
            if short.len() >= 12 {
                prop_assert!(opener.open(&mut short, 12, 1, 1).is_err());
            }
            let at = at % packet.len();
            packet[at] ^= 1 << bit;
            prop_assert!(opener.open(&mut packet, 12, 1, 1).is_err());
        }
    }
}
