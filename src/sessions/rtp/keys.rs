//! The keys of a DTLS handshake, for those who seal packets themselves.
//!
//! str0m keeps ICE and DTLS; it has no call that tells the keying material, but its crypto provider is an argument. Ours is
//! str0m's own, whose DTLS hands the material over in passing. str0m polls its DTLS from within calls that a session makes on
//! its own thread, so [`take`] right after such a call tells the material of just that session.

use std::{cell::RefCell, sync::Arc, time::Instant};

use str0m::crypto::{
    CryptoError, CryptoProvider,
    dtls::{
        DtlsCert, DtlsImplError, DtlsInstance, DtlsOutput, DtlsProvider, DtlsVersion, ProtocolVersion,
        SrtpProfile,
    },
};

use crate::protocols::rtp::srtp::{KeyError, Opener, Profile, Sealer};

thread_local! {
    static TAKEN: RefCell<Option<Keys>> = const { RefCell::new(None) };
}

/// What a handshake agreed on.
pub struct Keys {
    profile: Profile,
    material: Vec<u8>,
    is_client: bool,
}

impl Keys {
    /// Of a handshake that agreed on `profile` and exported `material`; `is_client`: this side began it.
    pub const fn new(profile: Profile, material: Vec<u8>, is_client: bool) -> Self {
        Self { profile, material, is_client }
    }

    /// For what this side sends.
    ///
    /// # Errors
    /// When the material does not fit its profile.
    pub fn sealer(&self) -> Result<Sealer, KeyError> {
        Sealer::new(self.profile, &self.material, self.is_client)
    }

    /// For what the other side sends.
    ///
    /// # Errors
    /// When the material does not fit its profile.
    pub fn opener(&self) -> Result<Opener, KeyError> {
        Opener::new(self.profile, &self.material, !self.is_client)
    }
}

/// The keys of the handshake that completed in the call on this thread's `Rtc` that has just returned.
pub fn take() -> Option<Keys> {
    TAKEN.take()
}

/// A provider for `RtcConfig::set_crypto_provider` whose handshakes [`take`] tells.
pub fn provider() -> Arc<CryptoProvider> {
    static DTLS: Tap = Tap;
    Arc::new(CryptoProvider { dtls_provider: &DTLS, ..str0m::crypto::from_feature_flags() })
}

#[derive(Debug)]
struct Tap;

impl DtlsProvider for Tap {
    fn generate_certificate(&self) -> Option<DtlsCert> {
        str0m::crypto::from_feature_flags().dtls_provider.generate_certificate()
    }

    fn new_dtls(
        &self,
        cert: &DtlsCert,
        now: Instant,
        version: DtlsVersion,
        mtu: Option<usize>,
    ) -> Result<Box<dyn DtlsInstance>, CryptoError> {
        let inner = str0m::crypto::from_feature_flags().dtls_provider.new_dtls(cert, now, version, mtu)?;
        Ok(Box::new(Tapped { inner }))
    }
}

#[derive(Debug)]
struct Tapped {
    inner: Box<dyn DtlsInstance>,
}

impl DtlsInstance for Tapped {
    fn set_active(&mut self, active: bool) {
        self.inner.set_active(active);
    }

    fn handle_packet(&mut self, packet: &[u8]) -> Result<(), DtlsImplError> {
        self.inner.handle_packet(packet)
    }

    fn poll_output<'a>(&mut self, buf: &'a mut [u8]) -> DtlsOutput<'a> {
        let is_client = self.inner.is_active();
        let output = self.inner.poll_output(buf);
        if let DtlsOutput::KeyingMaterial(material, profile) = &output {
            let profile = match profile {
                SrtpProfile::AES128_CM_SHA1_80 => Some(Profile::Aes128CmSha1),
                SrtpProfile::AEAD_AES_128_GCM => Some(Profile::Aes128Gcm),
                SrtpProfile::AEAD_AES_256_GCM => Some(Profile::Aes256Gcm),
                _ => None,
            };
            let keys = profile.map(|profile| Keys::new(profile, material.to_vec(), is_client));
            TAKEN.set(keys);
        }
        output
    }

    fn handle_timeout(&mut self, now: Instant) -> Result<(), DtlsImplError> {
        self.inner.handle_timeout(now)
    }

    fn send_application_data(&mut self, data: &[u8]) -> Result<usize, DtlsImplError> {
        self.inner.send_application_data(data)
    }

    fn is_active(&self) -> bool {
        self.inner.is_active()
    }

    fn protocol_version(&self) -> Option<ProtocolVersion> {
        self.inner.protocol_version()
    }

    fn is_closing(&self) -> bool {
        self.inner.is_closing()
    }

    fn is_closed(&self) -> bool {
        self.inner.is_closed()
    }

    fn close(&mut self) -> Result<(), DtlsImplError> {
        self.inner.close()
    }
}
