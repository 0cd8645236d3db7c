//! Which session a STUN request is for (RFC 8489 §5 and §14, RFC 8445 §7.2.2): no more of STUN is read here.

/// The bytes before the attributes.
const HEAD: usize = 20;
/// The attribute USERNAME.
const USERNAME: u16 = 0x0006;
/// What stands in every message.
const COOKIE: [u8; 4] = [0x21, 0x12, 0xa4, 0x42];

/// The receiver's name in a binding request, which has both: `receiver:sender`. `None` for all else.
pub fn local_ufrag(datagram: &[u8]) -> Option<&str> {
    let (head, mut rest) = datagram.split_at_checked(HEAD)?;
    if head.get(..2)? != [0, 1] || head.get(4..8)? != COOKIE {
        return None;
    }
    while let Some((attribute, tail)) = rest.split_first_chunk::<4>() {
        let [kind_high, kind_low, len_high, len_low] = *attribute;
        let len = usize::from(u16::from_be_bytes([len_high, len_low]));
        let value = tail.get(..len)?;
        if u16::from_be_bytes([kind_high, kind_low]) == USERNAME {
            return std::str::from_utf8(value).ok()?.split_once(':').map(|(local, _)| local);
        }
        rest = tail.get(len.next_multiple_of(4)..)?;
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(attributes: &[u8]) -> Vec<u8> {
        let mut datagram = vec![0, 1, 0, attributes.len() as u8];
        datagram.extend(COOKIE);
        datagram.extend([9; 12]);
        datagram.extend(attributes);
        datagram
    }

    #[test]
    fn a_request_names_its_receiver_whatever_stands_before_it() {
        let software = [0x80, 0x22, 0, 3, b'a', b'b', b'c', 0];
        let username = [0, 6, 0, 9, b'h', b'e', b'r', b'e', b':', b'y', b'o', b'u', b'!', 0, 0, 0];
        let datagram = request(&[&software[..], &username].concat());
        assert_eq!(local_ufrag(&datagram), Some("here"));
        for cut in 0..datagram.len() - 3 {
            assert_eq!(local_ufrag(&datagram[..cut]), None, "cut at {cut}");
        }
        let mut response = datagram;
        response[0] = 1;
        assert_eq!(local_ufrag(&response), None, "only requests have a name to go by");
    }
}
