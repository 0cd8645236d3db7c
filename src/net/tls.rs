//! TLS of one connection as a machine: ciphertext in, plaintext out, and the other way round. No socket.
//!
//! Invariant: at most [`PLAIN_MAX`] bytes of plaintext are taken while ciphertext waits, so a slow peer holds little.

use std::{
    io::{self, BufRead, IoSlice, Write},
    path::Path,
    sync::Arc,
    task::Waker,
};

use bytes::{Buf, BytesMut};
use rustls::{
    ServerConfig, ServerConnection,
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject},
};

/// Plaintext taken at once: four records.
const PLAIN_MAX: usize = 64 * 1024;

/// The first byte of a TLS connection (RFC 8446 §5.1, a handshake record); no other protocol here begins with it.
pub const FIRST_BYTE: u8 = 0x16;

/// Reads a certificate chain and its key.
///
/// # Errors
/// A sentence that names the file and what is wrong with it.
pub fn load(cert: &Path, key: &Path) -> Result<Arc<ServerConfig>, String> {
    let chain: Vec<CertificateDer<'static>> = CertificateDer::pem_file_iter(cert)
        .and_then(|certs| certs.collect())
        .map_err(|error| format!("tls.cert: {}: {error}", cert.display()))?;
    if chain.is_empty() {
        return Err(format!("tls.cert: {}: there is no certificate in it", cert.display()));
    }
    let private =
        PrivateKeyDer::from_pem_file(key).map_err(|error| format!("tls.key: {}: {error}", key.display()))?;
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let mut config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| error.to_string())?
        .with_no_client_auth()
        .with_single_cert(chain, private)
        .map_err(|error| format!("tls: {} and {} do not fit: {error}", cert.display(), key.display()))?;
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(Arc::new(config))
}

/// See the module.
pub struct Tls {
    connection: ServerConnection,
    /// Ciphertext that waits for the socket.
    out: BytesMut,
    closed: bool,
    /// The task that reads.
    reader: Option<Waker>,
}

impl Tls {
    /// The server's side of a new connection.
    ///
    /// # Errors
    /// When the configuration cannot be used.
    pub fn new(config: &Arc<ServerConfig>) -> io::Result<Self> {
        let mut connection = ServerConnection::new(Arc::clone(config)).map_err(io::Error::other)?;
        connection.set_buffer_limit(Some(PLAIN_MAX));
        Ok(Self { connection, out: BytesMut::new(), closed: false, reader: None })
    }

    /// Takes ciphertext, and gives the plaintext to the end of `into`: little of either stays here.
    ///
    /// # Errors
    /// When it is no TLS; the alert for the peer is ready to be sent then. When the peer broke off without saying so.
    pub fn receive(&mut self, mut cipher: &[u8], into: &mut BytesMut) -> io::Result<()> {
        while !cipher.is_empty() && self.connection.read_tls(&mut cipher)? > 0 {
            let state = self.connection.process_new_packets();
            self.encrypt();
            match state {
                Ok(state) => self.closed |= state.peer_has_closed(),
                Err(error) => return Err(io::Error::new(io::ErrorKind::InvalidData, error)),
            }
            let mut reader = self.connection.reader();
            // A buffer of the connection's own: what is taken by `consume` is what was copied.
            while let Ok(plain) = reader.fill_buf() {
                if plain.is_empty() {
                    break;
                }
                into.extend_from_slice(plain);
                let taken = plain.len();
                reader.consume(taken);
            }
        }
        Ok(())
    }

    /// Whether the peer said that nothing more comes.
    pub fn is_closed(&self) -> bool {
        self.closed
    }

    /// Takes plaintext; how much.
    ///
    /// # Errors
    /// When the connection has failed.
    pub fn write(&mut self, slices: &[IoSlice<'_>]) -> io::Result<usize> {
        let mut taken = 0;
        for slice in slices {
            let more = self.connection.writer().write(&slice[..slice.len().min(PLAIN_MAX - taken)])?;
            taken += more;
            self.encrypt();
            if more < slice.len() {
                break;
            }
        }
        Ok(taken)
    }

    /// Says that nothing more comes.
    pub fn close(&mut self) {
        self.connection.send_close_notify();
        self.encrypt();
    }

    /// Remembers the task that reads, which also sends what [`write`](Self::write)rs leave.
    pub fn watch(&mut self, waker: &Waker) {
        if !self.reader.as_ref().is_some_and(|known| known.will_wake(waker)) {
            self.reader = Some(waker.clone());
        }
    }

    /// Forgets it: the connection leaves its executor.
    pub fn unwatch(&mut self) {
        self.reader = None;
    }

    /// Wakes the task that reads.
    pub fn wake(&self) {
        self.reader.iter().for_each(Waker::wake_by_ref);
    }

    /// Ciphertext for the socket.
    pub fn ready(&self) -> Option<&[u8]> {
        (!self.out.is_empty()).then_some(&self.out)
    }

    /// The socket took `sent` bytes of it.
    pub fn advance(&mut self, sent: usize) {
        self.out.advance(sent);
        if self.out.is_empty() {
            self.out = BytesMut::new();
        }
    }

    fn encrypt(&mut self) {
        struct Append<'a>(&'a mut BytesMut);
        impl Write for Append<'_> {
            fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
                self.0.extend_from_slice(bytes);
                Ok(bytes.len())
            }
            fn flush(&mut self) -> io::Result<()> {
                Ok(())
            }
        }
        while self.connection.wants_write() {
            if self.connection.write_tls(&mut Append(&mut self.out)).is_err() {
                return;
            }
        }
    }
}
