//! The addresses of this machine that others may reach.

use std::{
    ffi::CStr,
    io,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
    ptr,
};

/// The addresses of all interfaces that are up, loopback and link-local ones left out.
///
/// # Errors
/// What the system says.
pub fn addresses() -> io::Result<Vec<IpAddr>> {
    let mut found = Vec::new();
    for (_, address) in named()? {
        if is_reachable(address) && !found.contains(&address) {
            found.push(address);
        }
    }
    Ok(found)
}

/// The addresses of all interfaces that are up, each with its interface's name.
///
/// # Errors
/// What the system says.
pub fn named() -> io::Result<Vec<(String, IpAddr)>> {
    let mut list = ptr::null_mut();
    // SAFETY: `list` is a place for one pointer.
    #[allow(unsafe_code)]
    let outcome = unsafe { libc::getifaddrs(&raw mut list) };
    if outcome != 0 {
        return Err(io::Error::last_os_error());
    }
    let mut found = Vec::new();
    let mut next = list;
    // SAFETY: `getifaddrs` gave a list that ends with a null pointer and lives until `freeifaddrs`.
    #[allow(unsafe_code)]
    while let Some(entry) = unsafe { next.as_ref() } {
        next = entry.ifa_next;
        let is_up = entry.ifa_flags & libc::IFF_UP as libc::c_uint != 0;
        // SAFETY: an entry's address is null or a socket address of the family that it says.
        #[allow(unsafe_code)]
        let address = unsafe { address(entry.ifa_addr) };
        // SAFETY: an entry's name is a string that ends with a zero byte.
        #[allow(unsafe_code)]
        let name = unsafe { CStr::from_ptr(entry.ifa_name) };
        if let Some(address) = address.filter(|_| is_up) {
            found.push((name.to_string_lossy().into_owned(), address));
        }
    }
    // SAFETY: the list is from `getifaddrs`, and nothing of it is kept.
    #[allow(unsafe_code)]
    unsafe {
        libc::freeifaddrs(list);
    }
    Ok(found)
}

/// Reads one socket address.
///
/// # Safety
/// `address` is null or points to a whole socket address of the family in its head.
#[allow(unsafe_code)]
unsafe fn address(address: *const libc::sockaddr) -> Option<IpAddr> {
    // SAFETY: by the contract, the head of an address can be read.
    let family = i32::from(unsafe { address.as_ref()? }.sa_family);
    match family {
        libc::AF_INET => {
            // SAFETY: by the contract, an address of this family is whole; it may be unaligned for its type.
            let v4 = unsafe { ptr::read_unaligned(address.cast::<libc::sockaddr_in>()) };
            Some(Ipv4Addr::from(u32::from_be(v4.sin_addr.s_addr)).into())
        }
        libc::AF_INET6 => {
            // SAFETY: as above.
            let v6 = unsafe { ptr::read_unaligned(address.cast::<libc::sockaddr_in6>()) };
            Some(Ipv6Addr::from(v6.sin6_addr.s6_addr).into())
        }
        _ => None,
    }
}

/// Whether a peer on another machine could use it.
fn is_reachable(ip: IpAddr) -> bool {
    match ip {
        IpAddr::V4(ip) => !ip.is_loopback() && !ip.is_link_local() && !ip.is_unspecified(),
        IpAddr::V6(ip) => !ip.is_loopback() && !ip.is_unicast_link_local() && !ip.is_unspecified(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_found_can_be_listened_on() {
        for ip in addresses().expect("the system tells") {
            assert!(is_reachable(ip), "{ip}");
            // Addresses that duplicate detection has not finished with cannot be bound yet.
            if ip.is_ipv4() {
                std::net::UdpSocket::bind((ip, 0)).unwrap_or_else(|error| panic!("{ip}: {error}"));
            }
        }
    }
}
