//! Tokens as an issuer makes them, and as an attacker does.

use std::sync::LazyLock;

use aws_lc_rs::{
    encoding::{AsDer, PublicKeyX509Der},
    hmac,
    rand::SystemRandom,
    rsa::{KeyPair as RsaKeyPair, KeySize},
    signature::{
        ECDSA_P256_SHA256_FIXED_SIGNING, ECDSA_P384_SHA384_FIXED_SIGNING, EcdsaKeyPair, KeyPair,
        RSA_PKCS1_SHA256,
    },
};
use data_encoding::{BASE64, BASE64URL_NOPAD};
use proptest::prelude::*;
use serde_json::json;

use super::*;

const NOW: Duration = Duration::from_secs(1_764_200_000);
const SECRET: &[u8] = b"a secret of more than thirty-two bytes";

static RSA: LazyLock<RsaKeyPair> = LazyLock::new(|| RsaKeyPair::generate(KeySize::Rsa2048).unwrap());
static EC: LazyLock<EcdsaKeyPair> =
    LazyLock::new(|| EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).unwrap());

fn pem(der: &[u8]) -> String {
    format!("-----BEGIN PUBLIC KEY-----\n{}\n-----END PUBLIC KEY-----\n", BASE64.encode(der))
}

fn rsa_pem() -> String {
    pem(AsDer::<PublicKeyX509Der<'_>>::as_der(RSA.public_key()).unwrap().as_ref())
}

fn ec_pem(pair: &EcdsaKeyPair) -> String {
    pem(AsDer::<PublicKeyX509Der<'_>>::as_der(pair.public_key()).unwrap().as_ref())
}

fn ec_jwk(pair: &EcdsaKeyPair, kid: &str) -> Value {
    let (x, y) = pair.public_key().as_ref()[1..].split_at(32);
    json!({ "kty": "EC", "crv": "P-256", "kid": kid, "use": "sig", "alg": "ES256",
        "x": BASE64URL_NOPAD.encode(x), "y": BASE64URL_NOPAD.encode(y) })
}

/// A token with this header and these claims, whose signature `sign` makes.
fn token(header: &Value, claims: &Value, sign: impl Fn(&[u8]) -> Vec<u8>) -> String {
    let part = |value: &Value| BASE64URL_NOPAD.encode(value.to_string().as_bytes());
    let message = format!("{}.{}", part(header), part(claims));
    let signature = BASE64URL_NOPAD.encode(&sign(message.as_bytes()));
    format!("{message}.{signature}")
}

fn hs(secret: &[u8]) -> impl Fn(&[u8]) -> Vec<u8> {
    let key = hmac::Key::new(hmac::HMAC_SHA256, secret);
    move |message| hmac::sign(&key, message).as_ref().to_vec()
}

fn rs(message: &[u8]) -> Vec<u8> {
    let mut signature = vec![0; RSA.public_modulus_len()];
    RSA.sign(&RSA_PKCS1_SHA256, &SystemRandom::new(), message, &mut signature).unwrap();
    signature
}

fn es(pair: &EcdsaKeyPair) -> impl Fn(&[u8]) -> Vec<u8> {
    move |message| pair.sign(&SystemRandom::new(), message).unwrap().as_ref().to_vec()
}

fn claims() -> Value {
    json!({ "exp": NOW.as_secs() + 60, "publish": "live/cam-1", "play": ["live/*", "demo/**"] })
}

fn hs_token(claims: &Value) -> String {
    token(&json!({ "alg": "HS256", "typ": "JWT" }), claims, hs(SECRET))
}

fn jwt(keys: Keys) -> Jwt {
    Jwt::new(JwtOptions { keys, ..JwtOptions::default() })
}

fn of_secret() -> Jwt {
    jwt(Keys::of_secret(SECRET).unwrap())
}

fn permits(claims: &Claims, action: Action, key: &str) -> bool {
    claims.permit(action, &key.parse().unwrap())
}

#[test]
fn all_three_algorithms_permit_what_the_claims_say() {
    let of_pem = |pem: String| jwt(Keys::of_pem(pem.as_bytes()).unwrap());
    let made = [
        (of_secret(), hs_token(&claims())),
        (of_pem(rsa_pem()), token(&json!({ "alg": "RS256" }), &claims(), rs)),
        (of_pem(ec_pem(&EC)), token(&json!({ "alg": "ES256" }), &claims(), es(&EC))),
    ];
    for (jwt, token) in made {
        let claims = jwt.verify(&token, NOW).unwrap();
        assert!(
            permits(&claims, Action::Publish, "live/cam-1")
                && !permits(&claims, Action::Publish, "live/cam-2")
        );
        assert!(permits(&claims, Action::Play, "live/cam-2") && permits(&claims, Action::Play, "demo/a/b"));
        assert!(!permits(&claims, Action::Play, "other/cam"));
        assert_eq!(claims.until(), NOW + Duration::from_secs(60));
    }
}

/// RFC 8725 §2.1: whoever lets the token choose takes a public key for a secret, or no signature for one.
#[test]
fn a_token_does_not_choose_its_algorithm() {
    let of_rsa = jwt(Keys::of_pem(rsa_pem().as_bytes()).unwrap());
    let forged = token(&json!({ "alg": "HS256" }), &claims(), hs(rsa_pem().as_bytes()));
    assert_eq!(of_rsa.verify(&forged, NOW), Err(JwtError::UnknownKey));
    let der = AsDer::<PublicKeyX509Der<'_>>::as_der(RSA.public_key()).unwrap();
    let forged = token(&json!({ "alg": "HS256" }), &claims(), hs(der.as_ref()));
    assert_eq!(of_rsa.verify(&forged, NOW), Err(JwtError::UnknownKey));
    for alg in ["none", "None", "", "HS1", "HS384x"] {
        for jwt in [&of_rsa, &of_secret()] {
            let unsigned = token(&json!({ "alg": alg }), &claims(), |_| Vec::new());
            assert_eq!(jwt.verify(&unsigned, NOW), Err(JwtError::Shape), "{alg}");
        }
    }
    for alg in ["HS384", "HS512", "PS256", "ES384", "EdDSA", "RS512"] {
        let other = token(&json!({ "alg": alg }), &claims(), hs(SECRET));
        assert_eq!(of_secret().verify(&other, NOW), Err(JwtError::UnknownKey), "{alg}");
    }
    // A key of the token's own, and an extension that must be understood.
    let own = EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).unwrap();
    let header = json!({ "alg": "ES256", "jwk": ec_jwk(&own, "mine") });
    let of_ec = jwt(Keys::of_pem(ec_pem(&EC).as_bytes()).unwrap());
    assert_eq!(of_ec.verify(&token(&header, &claims(), es(&own)), NOW), Err(JwtError::Signature));
    let critical = token(&json!({ "alg": "ES256", "crit": ["exp"] }), &claims(), es(&EC));
    assert_eq!(of_ec.verify(&critical, NOW), Err(JwtError::Shape));
}

#[test]
fn time_issuer_and_audience_are_checked() {
    let mut jwt = of_secret();
    jwt.options.skew = Duration::from_secs(5);
    let at = |claims: Value, seconds: u64| {
        jwt.verify(&hs_token(&claims), NOW + Duration::from_secs(seconds)).map(|claims| claims.until())
    };
    let exp = NOW.as_secs() + 60;
    assert_eq!(at(json!({ "exp": exp }), 64), Ok(NOW + Duration::from_secs(65)));
    assert_eq!(at(json!({ "exp": exp }), 65), Err(JwtError::Expired));
    assert_eq!(at(json!({ "exp": exp, "nbf": NOW.as_secs() + 15 }), 9), Err(JwtError::Early));
    assert!(at(json!({ "exp": exp, "nbf": NOW.as_secs() + 15 }), 10).is_ok());
    for wrong in [json!({}), json!({ "exp": "soon" }), json!({ "exp": null })] {
        assert_eq!(at(wrong.clone(), 0), Err(JwtError::NoExpiry), "{wrong}");
    }
    assert_eq!(at(json!({ "exp": exp, "nbf": "x" }), 0), Err(JwtError::Early));
    assert_eq!(at(json!({ "exp": -1 }), 0), Err(JwtError::Expired));
    assert_eq!(at(json!({ "exp": 1e300 }), 0), Ok(Duration::MAX));
    for wrong in [json!(5), json!("live"), json!([["live/*"]]), json!(vec!["live/*"; 65])] {
        assert_eq!(at(json!({ "exp": exp, "play": wrong.clone() }), 0), Err(JwtError::Claims), "{wrong}");
    }
    jwt.options.issuer = "issuer".to_owned();
    jwt.options.audience = "shardcast".to_owned();
    let of = |iss: Value, aud: Value| {
        jwt.verify(&hs_token(&json!({ "exp": exp, "iss": iss, "aud": aud })), NOW).err()
    };
    assert_eq!(of(json!("issuer"), json!("shardcast")), None);
    assert_eq!(of(json!("issuer"), json!(["other", "shardcast"])), None);
    assert_eq!(of(json!("other"), json!("shardcast")), Some(JwtError::Audience));
    assert_eq!(of(json!("issuer"), json!("other")), Some(JwtError::Audience));
    assert_eq!(of(json!("issuer"), Value::Null), Some(JwtError::Audience));
}

#[test]
fn a_rotated_key_counts_from_then_on_and_the_old_one_no_more() {
    let next = EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).unwrap();
    let set = |keys: Vec<Value>| Keys::of_jwks(json!({ "keys": keys }).to_string().as_bytes()).unwrap();
    let signed =
        |pair: &EcdsaKeyPair, kid: &str| token(&json!({ "alg": "ES256", "kid": kid }), &claims(), es(pair));
    let (old, new) = (signed(&EC, "2026-10"), signed(&next, "2026-11"));
    let (jwt, mut checked) = (jwt(Keys::default()), Checked::default());
    let mut verify = |jwt: &Jwt, token: &str| jwt.verify_once(token, NOW, &mut checked).err();
    assert_eq!(verify(&jwt, &old), Some(JwtError::UnknownKey), "before the first fetch");
    jwt.set_fetched(set(vec![ec_jwk(&EC, "2026-10")]));
    assert_eq!(verify(&jwt, &old), None);
    assert_eq!(verify(&jwt, &new), Some(JwtError::UnknownKey));
    jwt.set_fetched(set(vec![ec_jwk(&EC, "2026-10"), ec_jwk(&next, "2026-11")]));
    assert_eq!((verify(&jwt, &old), verify(&jwt, &new)), (None, None));
    // What was checked with the old key is forgotten.
    jwt.set_fetched(set(vec![ec_jwk(&next, "2026-11")]));
    assert_eq!((verify(&jwt, &old), verify(&jwt, &new)), (Some(JwtError::UnknownKey), None));
    assert_eq!(verify(&jwt, &signed(&EC, "2026-11")), Some(JwtError::Signature), "a name is no key");
}

#[test]
fn what_is_remembered_expires_all_the_same_and_is_bounded() {
    let (jwt, mut checked) = (of_secret(), Checked::default());
    let token = hs_token(&claims());
    assert!(jwt.verify_once(&token, NOW, &mut checked).is_ok());
    assert!(jwt.verify_once(&token, NOW + Duration::from_secs(59), &mut checked).is_ok());
    let late = jwt.verify_once(&token, NOW + Duration::from_secs(60), &mut checked);
    assert_eq!(late.err(), Some(JwtError::Expired));
    for n in 0..CHECKED_MAX + 10 {
        let claims = json!({ "exp": NOW.as_secs() + 60, "n": n });
        assert!(jwt.verify_once(&hs_token(&claims), NOW, &mut checked).is_ok());
    }
    assert!(checked.claims.len() <= CHECKED_MAX);
}

#[test]
fn keys_that_are_for_something_else_are_passed_over() {
    let of =
        |keys: Value| Keys::of_jwks(json!({ "keys": keys }).to_string().as_bytes()).map(|keys| keys.len());
    let mut encrypts = ec_jwk(&EC, "a");
    encrypts["use"] = "enc".into();
    let mut other = ec_jwk(&EC, "b");
    other["alg"] = "ES256K".into();
    let secret =
        |alg: Value, bytes: &[u8]| json!({ "kty": "oct", "alg": alg, "k": BASE64URL_NOPAD.encode(bytes) });
    assert_eq!(of(json!([encrypts, other, { "kty": "OKP" }, 7, ec_jwk(&EC, "c")])), Ok(1));
    assert_eq!(of(json!([secret(json!("HS256"), SECRET)])), Ok(1));
    assert_eq!(of(json!([secret(Value::Null, SECRET)])), Err(KeyError::NoKey), "a secret for anything");
    assert_eq!(of(json!([secret(json!("HS256"), b"short")])), Err(KeyError::NoKey));
    assert_eq!(of(json!([])), Err(KeyError::NoKey));
    assert_eq!(of(json!(vec![ec_jwk(&EC, "c"); KEYS_MAX + 1])), Err(KeyError::Jwks));
    assert_eq!(Keys::of_jwks(b"nonsense").err(), Some(KeyError::Jwks));
    assert_eq!(Keys::of_secret(b"short").err(), Some(KeyError::Short));
    assert_eq!(Keys::of_pem(b"nonsense").err(), Some(KeyError::Pem));
    let larger = EcdsaKeyPair::generate(&ECDSA_P384_SHA384_FIXED_SIGNING).unwrap();
    assert_eq!(Keys::of_pem(ec_pem(&larger).as_bytes()).err(), Some(KeyError::Pem));
    assert!(!format!("{:?}", of_secret()).contains("secret of more"), "no key is shown");
}

proptest! {
    /// One wrong character anywhere in a token, and it permits nothing. The last one of a part may hold bits that mean
    /// nothing, which is refused as well.
    #[test]
    fn a_changed_token_permits_nothing(at: prop::sample::Index, to in "[A-Za-z0-9_.-]") {
        let mut text = hs_token(&claims());
        let at = at.index(text.len());
        prop_assume!(text.get(at..=at) != Some(to.as_str()));
        text.replace_range(at..=at, &to);
        prop_assert!(of_secret().verify(&text, NOW).is_err());
    }

    #[test]
    fn any_text_is_survived(text in "\\PC{0,200}", parts in prop::collection::vec("[A-Za-z0-9_-]{0,40}", 0..5)) {
        prop_assert!(of_secret().verify(&text, NOW).is_err());
        prop_assert!(of_secret().verify(&parts.join("."), NOW).is_err());
    }

    /// Whoever has the key may say anything: it is understood or it is not.
    #[test]
    fn any_claims_are_survived(text in "\\{(\"(exp|nbf|play|publish|iss)\":(\"\\PC{0,9}\"|-?[0-9e]{1,9}|\\[\\]|null),?){0,4}\\}") {
        let part = |text: &str| BASE64URL_NOPAD.encode(text.as_bytes());
        let message = format!("{}.{}", part("{\"alg\":\"HS256\"}"), part(&text));
        let token = format!("{message}.{}", BASE64URL_NOPAD.encode(&hs(SECRET)(message.as_bytes())));
        let _ = of_secret().verify(&token, NOW);
    }
}
