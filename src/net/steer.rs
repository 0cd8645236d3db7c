//! Several sockets at one UDP port, one of each shard, and a program in the kernel that chooses among them.
//!
//! The sockets are a group (`SO_REUSEPORT`), and the program (classic BPF, which needs no privilege) is run for each datagram
//! with the payload in front of it. It reads a STUN binding request as far as USERNAME (RFC 8489 §5 and §14): our names
//! begin with the number of the owner's shard in two hexadecimal digits. For all else it gives a number that no socket has, and
//! the kernel falls back on its own hash of both addresses: those datagrams come to any of the sockets, and whoever gets one hands it on.
//!
//! Invariant: socket `n` is the one of shard `n`; the group's order is that of binding.

use std::{
    io, mem,
    net::{SocketAddr, UdpSocket},
    os::fd::{AsFd, AsRawFd},
};

use libc::{sock_filter, sock_fprog};

use super::udp;

/// Attributes that may stand before USERNAME: clients put two or three there at most.
const ATTRIBUTES_MAX: usize = 8;
/// The bytes of a STUN message before its attributes.
const HEAD: u32 = 20;
/// The attribute USERNAME.
const USERNAME: u32 = 0x0006;
/// What stands in every STUN message.
const COOKIE: u32 = 0x2112_a442;
/// A number that no socket has.
const NOBODY: u32 = 0xffff;

/// Binds `count` sockets at `address`, of which one is for each shard, in their order. Whether datagrams will be steered is told
/// besides: where the system refuses the program, they come to any of the sockets.
///
/// # Errors
/// What the system says, `AddrInUse` above all.
pub fn bind(
    address: SocketAddr,
    count: usize,
    buffer: usize,
) -> io::Result<(Vec<UdpSocket>, io::Result<()>)> {
    // Alone first: a group would take no notice of another server at the same port.
    let mut address = address;
    address.set_port(udp::bind(address, buffer, false)?.local_addr()?.port());
    let sockets: io::Result<Vec<UdpSocket>> = (0..count).map(|_| udp::bind(address, buffer, true)).collect();
    let sockets = sockets?;
    let steered = sockets.first().map_or(Ok(()), attach);
    Ok((sockets, steered))
}

/// Gives the program to the group that `socket` is in.
fn attach(socket: &UdpSocket) -> io::Result<()> {
    let mut program = program();
    let program =
        sock_fprog { len: u16::try_from(program.len()).unwrap_or(u16::MAX), filter: program.as_mut_ptr() };
    // SAFETY: the option takes one `sock_fprog`, whose filter points to `len` instructions; the kernel copies both.
    #[allow(unsafe_code)]
    let outcome = unsafe {
        libc::setsockopt(
            socket.as_fd().as_raw_fd(),
            libc::SOL_SOCKET,
            libc::SO_ATTACH_REUSEPORT_CBPF,
            (&raw const program).cast(),
            mem::size_of::<sock_fprog>() as libc::socklen_t,
        )
    };
    if outcome == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// An instruction that does not jump.
const fn op(code: u32, k: u32) -> sock_filter {
    sock_filter { code: code as u16, jt: 0, jf: 0, k }
}

/// Goes `yes` or `no` instructions further, as A equals `k` or not.
const fn if_equal(k: u32, yes: u8, no: u8) -> sock_filter {
    sock_filter { code: (libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K) as u16, jt: yes, jf: no, k }
}

/// The program: A is the accumulator, X the index register.
fn program() -> Vec<sock_filter> {
    use libc::{
        BPF_A, BPF_ABS, BPF_ADD, BPF_ALU, BPF_AND, BPF_B, BPF_H, BPF_IMM, BPF_IND, BPF_JGE, BPF_JMP, BPF_K,
        BPF_LD, BPF_LDX, BPF_LEN, BPF_LSH, BPF_MEM, BPF_MISC, BPF_RET, BPF_ST, BPF_SUB, BPF_TAX, BPF_W,
        BPF_X,
    };
    let nobody = op(BPF_RET | BPF_K, NOBODY);
    let mut program = vec![
        // Shorter than the head: none of STUN. (A load beyond the end would give the datagram to the first socket.)
        op(BPF_LD | BPF_W | BPF_LEN, 0),
        sock_filter { code: (BPF_JMP | BPF_JGE | BPF_K) as u16, jt: 1, jf: 0, k: HEAD + 8 },
        nobody,
        op(BPF_LD | BPF_H | BPF_ABS, 0),
        if_equal(1, 1, 0),
        nobody,
        op(BPF_LD | BPF_W | BPF_ABS, 4),
        if_equal(COOKIE, 1, 0),
        nobody,
        op(BPF_LDX | BPF_W | BPF_IMM, HEAD),
    ];
    // X: where an attribute begins. Each look is as long as the next, so that jumps to the end can be counted.
    const LOOK: usize = 7;
    for n in 0..ATTRIBUTES_MAX {
        let behind = (ATTRIBUTES_MAX - 1 - n) * LOOK + (LOOK - 2) + 1;
        program.extend([
            op(BPF_LD | BPF_H | BPF_IND, 0),
            if_equal(USERNAME, behind as u8, 0),
            // The next: its length, padded to words, and its own head.
            op(BPF_LD | BPF_H | BPF_IND, 2),
            op(BPF_ALU | BPF_ADD | BPF_K, 3 + 4),
            op(BPF_ALU | BPF_AND | BPF_K, !3),
            op(BPF_ALU | BPF_ADD | BPF_X, 0),
            op(BPF_MISC | BPF_TAX, 0),
        ]);
    }
    program.push(nobody);
    // USERNAME: two digits, each made a number. 'a' is 39 beyond where it would follow '9'.
    let digit = |at: u32| {
        [
            op(BPF_LD | BPF_B | BPF_IND, 4 + at),
            op(BPF_ALU | BPF_SUB | BPF_K, u32::from(b'0')),
            sock_filter { code: (BPF_JMP | BPF_JGE | BPF_K) as u16, jt: 0, jf: 1, k: u32::from(b'a' - b'0') },
            op(BPF_ALU | BPF_SUB | BPF_K, u32::from(b'a' - b'0' - 10)),
        ]
    };
    program.extend(digit(0));
    program.extend([op(BPF_ALU | BPF_LSH | BPF_K, 4), op(BPF_ST, 0)]);
    program.extend(digit(1));
    program.extend([
        op(BPF_LDX | BPF_W | BPF_MEM, 0),
        op(BPF_ALU | BPF_ADD | BPF_X, 0),
        op(BPF_RET | BPF_A, 0),
    ]);
    program
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    /// A binding request with a name, behind as many other attributes.
    fn request(before: usize, name: &str) -> Vec<u8> {
        let mut attributes = Vec::new();
        for n in 0..before {
            // Of every length modulo four.
            let len = n % 5;
            attributes.extend([0x80, 0x22, 0, len as u8]);
            attributes.resize(attributes.len() + len.next_multiple_of(4), b'x');
        }
        attributes.extend([0, 6, 0, name.len() as u8]);
        attributes.extend(name.as_bytes());
        attributes.resize(attributes.len().next_multiple_of(4), 0);
        let mut datagram = vec![0, 1, 0, attributes.len() as u8];
        datagram.extend(COOKIE.to_be_bytes());
        datagram.extend([7; 12]);
        datagram.extend(attributes);
        datagram
    }

    /// The socket to which a datagram comes.
    fn taker(sockets: &[UdpSocket], sender: &UdpSocket, datagram: &[u8]) -> usize {
        let port = sockets[0].local_addr().unwrap().port();
        sender.send_to(datagram, ("127.0.0.1", port)).unwrap();
        let mut room = [0; 2_000];
        for _ in 0..1_000 {
            for (n, socket) in sockets.iter().enumerate() {
                socket.set_nonblocking(true).unwrap();
                if let Ok(len) = socket.recv(&mut room) {
                    assert_eq!(&room[..len], datagram);
                    return n;
                }
            }
            std::thread::sleep(Duration::from_millis(1));
        }
        panic!("nobody got it");
    }

    #[test]
    fn requests_come_to_the_shard_in_their_name_from_wherever_they_are_sent() {
        for address in ["127.0.0.1:0", "[::]:0"] {
            let (sockets, steered) = bind(address.parse().unwrap(), 18, 1 << 16).unwrap();
            steered.expect("this kernel takes the program");
            let senders: Vec<UdpSocket> = (0..4).map(|_| UdpSocket::bind("127.0.0.1:0").unwrap()).collect();
            for sender in &senders {
                for (name, owner) in [
                    ("00abcdefghij:peer", 0),
                    ("09abcdefghij:peer", 9),
                    ("0fabcdefghij:peer", 15),
                    ("11ab:p", 17),
                ] {
                    for before in 0..ATTRIBUTES_MAX {
                        let got = taker(&sockets, sender, &request(before, name));
                        assert_eq!(got, owner, "{name} behind {before}");
                    }
                }
            }
        }
    }

    #[test]
    fn all_else_comes_to_some_socket_the_same_for_the_same_sender() {
        let (sockets, steered) = bind("127.0.0.1:0".parse().unwrap(), 4, 1 << 16).unwrap();
        steered.expect("this kernel takes the program");
        let mut used = [0; 4];
        for _ in 0..64 {
            let sender = UdpSocket::bind("127.0.0.1:0").unwrap();
            let media = taker(&sockets, &sender, &[0x80; 100]);
            used[media] += 1;
            let no_name = &request(0, "00ab:p")[..20];
            let mut response = request(0, "00ab:p");
            response[0] = 1;
            let mut no_stun = request(0, "00ab:p");
            no_stun[4] = 0;
            let too_late = request(ATTRIBUTES_MAX, "00ab:p");
            for other in
                [&[22, 254, 253][..], &[], no_name, &response, &no_stun, &too_late, &request(0, "zz:p")]
            {
                assert_eq!(taker(&sockets, &sender, other), media, "{other:?}");
            }
        }
        assert!(used.iter().all(|used| *used > 0), "{used:?}");
    }

    #[test]
    fn another_server_at_the_port_is_noticed() {
        let (sockets, _) = bind("127.0.0.1:0".parse().unwrap(), 2, 1 << 16).unwrap();
        let address = sockets[0].local_addr().unwrap();
        assert_eq!(bind(address, 2, 1 << 16).unwrap_err().kind(), io::ErrorKind::AddrInUse);
    }
}
