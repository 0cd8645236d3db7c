//! The least that packets can cost: each sealed once, each train sent by one call.

use std::net::{SocketAddr, UdpSocket};

use anyhow::{Result, anyhow};
use quinn_udp::{Transmit, UdpSockRef, UdpSocketState};
use shardcast::{
    net::trains::Train,
    protocols::rtp::srtp::{Profile, Sealer},
};

/// Bytes of a header with the extensions that viewers get.
const HEADER: usize = 24;

/// See the module.
pub struct Floor {
    socket: UdpSocket,
    state: UdpSocketState,
    sealers: Vec<Sealer>,
    trains: Vec<Train>,
    to: SocketAddr,
    buffer: Vec<u8>,
    tag: usize,
    index: u64,
    steps: u64,
}

impl Floor {
    /// For `viewers`, each of which gets `trains` with every second step, and the last of them with the others.
    pub fn new(profile: Profile, viewers: usize, trains: Vec<Train>, to: SocketAddr) -> Result<Self> {
        let socket = UdpSocket::bind("127.0.0.1:0")?;
        let state = UdpSocketState::new(UdpSockRef::from(&socket))?;
        let material = vec![9; profile.material_len()];
        let sealers =
            (0..viewers).map(|_| Sealer::new(profile, &material, true)).collect::<Result<Vec<_>, _>>()?;
        if trains.is_empty() {
            return Err(anyhow!("the stream has sent nothing to measure by"));
        }
        let tag = profile.tag_len();
        Ok(Self {
            socket,
            state,
            sealers,
            trains,
            to,
            buffer: Vec::with_capacity(1 << 17),
            tag,
            index: 0,
            steps: 0,
        })
    }

    /// 20 ms pass; packets sent.
    pub fn step(&mut self) -> Result<u64> {
        let has_picture = self.steps.is_multiple_of(2);
        self.steps += 1;
        let from = if has_picture { 0 } else { self.trains.len() - 1 };
        let mut packets = 0;
        for sealer in &self.sealers {
            for train in &self.trains[from..] {
                self.buffer.clear();
                let mut left = train.bytes;
                while left > 0 {
                    let len = left.min(train.segment);
                    let at = self.buffer.len();
                    self.buffer.resize(at + len - self.tag, 7);
                    sealer.seal(&mut self.buffer, at, HEADER, 1, self.index);
                    self.index += 1;
                    packets += 1;
                    left -= len;
                }
                let segment_size = (train.segment < train.bytes).then_some(train.segment);
                let transmit = Transmit {
                    destination: self.to,
                    ecn: None,
                    contents: &self.buffer,
                    segment_size,
                    src_ip: None,
                };
                self.state.try_send(UdpSockRef::from(&self.socket), &transmit)?;
            }
        }
        Ok(packets)
    }
}
