//! Many datagrams to one peer in one system call: trains of equal datagrams, each cut apart by the kernel (UDP GSO).
//!
//! A train's datagrams lie one behind the other and are all as long as the first, except that the last may be shorter.
//! Nothing here waits. A kernel or device that cannot cut trains gets datagram by datagram. Sizes are bytes.

use std::{
    cell::Cell,
    io,
    mem::{self, MaybeUninit},
    net::{IpAddr, SocketAddr},
    os::fd::{AsRawFd, BorrowedFd},
    ptr,
};

use socket2::SockAddr;

/// Datagrams of one train: what every kernel with GSO takes (`UDP_MAX_SEGMENTS`).
pub const SEGMENTS_MAX: usize = 64;
/// Bytes of one train: an IP packet's length field, less the longest headers.
pub const TRAIN_MAX: usize = 65_000;
/// Trains of one system call.
const CALL_MAX: usize = 16;

/// Datagrams that leave together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Train {
    /// Bytes of all its datagrams.
    pub bytes: usize,
    /// Bytes of each but the last.
    pub segment: usize,
}

/// Where trains go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Way {
    /// The peer, in the socket's own family.
    pub to: SocketAddr,
    /// The address of this machine to send from, in the socket's own family; `None`: the system chooses.
    pub from: Option<IpAddr>,
    /// Not by a socket of datagrams but by the connection from there. Whoever sends looks at that; nothing here does.
    pub is_line: bool,
}

thread_local! {
    /// The kernel, or the device, refused to cut trains.
    static UNCUT: Cell<bool> = const { Cell::new(false) };
}

/// Room for what a message says besides its bytes: the segment's length and the source address.
#[repr(C, align(8))]
#[derive(Clone, Copy)]
struct Control([u8; 96]);

/// Sends `trains`, which lie one behind the other in `contents`; how many trains left.
///
/// # Errors
/// What the system says when not even the first left: `WouldBlock` when the socket's buffer is full.
pub fn send(socket: BorrowedFd<'_>, way: &Way, contents: &[u8], trains: &[Train]) -> io::Result<usize> {
    let (mut left, mut sent) = (contents, 0);
    for call in trains.chunks(CALL_MAX) {
        let outcome = if UNCUT.get() {
            Err(io::ErrorKind::Unsupported.into())
        } else {
            send_call(socket, way, left, call)
        };
        let taken = match outcome {
            Ok(taken) => taken,
            Err(error) if refuses_trains(&error) => {
                // A peer to whom nothing at all can be sent (port 0, an address that is gone) says nothing of trains.
                let taken = send_uncut(socket, way, left, call)?;
                UNCUT.set(UNCUT.get() || call.iter().any(|train| train.segment < train.bytes));
                taken
            }
            Err(_) if sent > 0 => return Ok(sent),
            Err(error) => return Err(error),
        };
        sent += taken;
        if taken < call.len() {
            return Ok(sent);
        }
        left = left.get(call.iter().map(|train| train.bytes).sum()..).unwrap_or_default();
    }
    Ok(sent)
}

/// `EIO`: the device cannot do checksums of parts. `EINVAL`: a kernel before 4.18.
fn refuses_trains(error: &io::Error) -> bool {
    error.kind() == io::ErrorKind::Unsupported
        || matches!(error.raw_os_error(), Some(libc::EIO | libc::EINVAL))
}

#[allow(unsafe_code)]
fn send_call(socket: BorrowedFd<'_>, way: &Way, contents: &[u8], trains: &[Train]) -> io::Result<usize> {
    let to = SockAddr::from(way.to);
    let mut slices = [libc::iovec { iov_base: ptr::null_mut(), iov_len: 0 }; CALL_MAX];
    let mut controls = [Control([0; 96]); CALL_MAX];
    // SAFETY: `mmsghdr` is plain data, for which all zeros are valid.
    let mut messages: [libc::mmsghdr; CALL_MAX] = unsafe { MaybeUninit::zeroed().assume_init() };
    let (mut at, mut count) = (0, 0);
    for ((train, slice), (message, control)) in
        trains.iter().zip(&mut slices).zip(messages.iter_mut().zip(&mut controls))
    {
        let Some(bytes) = contents.get(at..at + train.bytes) else { break };
        at += train.bytes;
        // The kernel only reads; its type has no const.
        *slice = libc::iovec { iov_base: bytes.as_ptr().cast_mut().cast(), iov_len: bytes.len() };
        let header = &mut message.msg_hdr;
        header.msg_name = to.as_ptr().cast_mut().cast();
        header.msg_namelen = to.len();
        header.msg_iov = slice;
        header.msg_iovlen = 1;
        let segment = (train.segment < train.bytes).then_some(train.segment as u16);
        let len = write_control(control, segment, way.from);
        if len > 0 {
            header.msg_control = control.0.as_mut_ptr().cast();
            header.msg_controllen = len as _;
        }
        count += 1;
    }
    // SAFETY: each of the first `count` messages points to an address, a slice, bytes and a control block that live until
    // after the call, and the kernel writes only their `msg_len`.
    let sent = unsafe {
        libc::sendmmsg(
            socket.as_raw_fd(),
            messages.as_mut_ptr(),
            count as libc::c_uint,
            (libc::MSG_DONTWAIT | libc::MSG_NOSIGNAL) as _,
        )
    };
    usize::try_from(sent).map_err(|_| io::Error::last_os_error())
}

/// Writes the control messages; their length.
fn write_control(control: &mut Control, segment: Option<u16>, from: Option<IpAddr>) -> usize {
    let mut at = 0;
    if let Some(segment) = segment {
        put_control(control, &mut at, libc::SOL_UDP, libc::UDP_SEGMENT, &segment.to_ne_bytes());
    }
    match from {
        Some(IpAddr::V4(ip)) => {
            // `in_pktinfo`: interface (any), source, destination (unused).
            let mut info = [0; mem::size_of::<libc::in_pktinfo>()];
            info[4..8].copy_from_slice(&ip.octets());
            put_control(control, &mut at, libc::IPPROTO_IP, libc::IP_PKTINFO, &info);
        }
        Some(IpAddr::V6(ip)) => {
            // `in6_pktinfo`: source, interface (any).
            let mut info = [0; mem::size_of::<libc::in6_pktinfo>()];
            info[..16].copy_from_slice(&ip.octets());
            put_control(control, &mut at, libc::IPPROTO_IPV6, libc::IPV6_PKTINFO, &info);
        }
        None => {}
    }
    at
}

/// Appends one control message (`cmsg(3)`): a head of length, level and type, then data, padded to words.
fn put_control(control: &mut Control, at: &mut usize, level: i32, kind: i32, data: &[u8]) {
    const HEAD: usize = mem::size_of::<libc::cmsghdr>();
    let len = HEAD + data.len();
    let Some(room) = control.0.get_mut(*at..*at + len.next_multiple_of(mem::size_of::<usize>())) else {
        return;
    };
    let (word, int) = (mem::size_of::<usize>(), mem::size_of::<i32>());
    room[..word].copy_from_slice(&len.to_ne_bytes());
    room[word..word + int].copy_from_slice(&level.to_ne_bytes());
    room[word + int..word + 2 * int].copy_from_slice(&kind.to_ne_bytes());
    room[HEAD..len].copy_from_slice(data);
    *at += room.len();
}

/// `cmsghdr` is written by hand above: a word of length, then two ints.
const _: () = assert!(mem::size_of::<libc::cmsghdr>() == mem::size_of::<usize>() + 8);

/// Datagram by datagram; how many trains left. A train of which a part left has left: the rest is lost on its way.
fn send_uncut(socket: BorrowedFd<'_>, way: &Way, contents: &[u8], trains: &[Train]) -> io::Result<usize> {
    let mut left = contents;
    for (n, train) in trains.iter().enumerate() {
        let Some((bytes, rest)) = left.split_at_checked(train.bytes) else { return Ok(n) };
        left = rest;
        for (at, datagram) in bytes.chunks(train.segment.max(1)).enumerate() {
            let alone = Train { bytes: datagram.len(), segment: datagram.len() };
            match send_call(socket, way, datagram, &[alone]) {
                Ok(_) => {}
                Err(error) if at == 0 && n == 0 => return Err(error),
                Err(_) if at == 0 => return Ok(n),
                Err(_) => break,
            }
        }
    }
    Ok(trains.len())
}

#[cfg(test)]
mod tests {
    use std::{net::UdpSocket, os::fd::AsFd};

    use super::*;

    fn pair(host: &str) -> (UdpSocket, UdpSocket, Way) {
        let near = UdpSocket::bind((host, 0)).unwrap();
        let far = UdpSocket::bind((host, 0)).unwrap();
        let way = Way { to: far.local_addr().unwrap(), from: None, is_line: false };
        (near, far, way)
    }

    fn lens(socket: &UdpSocket) -> Vec<usize> {
        socket.set_nonblocking(true).unwrap();
        let mut room = [0; 2_000];
        std::iter::from_fn(|| socket.recv(&mut room).ok()).collect()
    }

    #[test]
    fn trains_arrive_as_datagrams_in_order() {
        for host in ["127.0.0.1", "::1"] {
            let (near, far, way) = pair(host);
            for from in [None, Some(far.local_addr().unwrap().ip())] {
                let trains = [
                    Train { bytes: 2_500, segment: 1_000 },
                    Train { bytes: 300, segment: 300 },
                    Train { bytes: 40, segment: 20 },
                ];
                let contents = vec![7; 2_840];
                assert_eq!(send(near.as_fd(), &Way { from, ..way }, &contents, &trains).unwrap(), 3);
                assert_eq!(lens(&far), [1_000, 1_000, 500, 300, 20, 20]);
            }
        }
    }

    #[test]
    fn more_trains_than_one_call_takes_arrive() {
        let (near, far, way) = pair("127.0.0.1");
        let trains = vec![Train { bytes: 10, segment: 10 }; 40];
        assert_eq!(send(near.as_fd(), &way, &[1; 400], &trains).unwrap(), 40);
        assert_eq!(lens(&far), vec![10; 40]);
    }

    #[test]
    fn a_peer_that_cannot_be_reached_says_nothing_of_trains() {
        let (near, far, way) = pair("127.0.0.1");
        let trains = [Train { bytes: 200, segment: 100 }];
        let nowhere = Way { to: SocketAddr::new(way.to.ip(), 0), ..way };
        assert!(send(near.as_fd(), &nowhere, &[0; 200], &trains).is_err());
        assert!(!UNCUT.get(), "trains are cut by the kernel as before");
        assert_eq!(send(near.as_fd(), &way, &[0; 200], &trains).unwrap(), 1);
        assert_eq!(lens(&far), [100, 100]);
    }

    #[test]
    fn a_kernel_that_cannot_cut_gets_datagrams() {
        UNCUT.set(true);
        let (near, far, way) = pair("127.0.0.1");
        let trains = [Train { bytes: 2_500, segment: 1_000 }, Train { bytes: 300, segment: 300 }];
        assert_eq!(send(near.as_fd(), &way, &[7; 2_800], &trains).unwrap(), 2);
        assert_eq!(lens(&far), [1_000, 1_000, 500, 300]);
        UNCUT.set(false);
    }
}
