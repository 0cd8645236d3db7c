#!/bin/sh
# Installs what this machine lacks to build, run or test Shardcast on Debian (12 or newer) and its kin.
#
#   scripts/deps.sh build    compilers and tools for `cargo build`
#   scripts/deps.sh run      build, and what fetches the web players' libraries (default)
#   scripts/deps.sh test     run, and the real clients that the end-to-end tests drive
#
# Asks by command, so that a machine which has everything is left alone within a blink. Uses apt-get as root or
# through sudo; where neither is there it prints the exact line to type. Downloads are tried twice.
set -eu
cd "$(dirname "$0")/.."
goal=${1:-run}

# The Enhanced RTMP client of the tests: ffmpeg 7 (Debian 12 has 5.1, which knows neither FourCC nor HEVC in FLV).
FFMPEG7_PACKAGE=imageio-ffmpeg==0.6.0
# A WebRTC stack of its own, in Python, that publishes and plays in the tests.
AIORTC_PACKAGE=aiortc==1.16.0
# What looks for pages that some people cannot use: labels, contrast, the order of headings.
AXE_PACKAGE=axe-core@4.14.1
AXE_SHA512=1477dafa598d8d065f273d6af302aa203c02e83131707b7fa648cd41bd3d6b734f8c22a0dab86ee6a6f64b8afbe804b214d36db85a2826965edfb3a0b9d546b5
AXE=node_modules/axe-core/axe.min.js
# A web player made for SRS's control port, as it is: what plays from SRS plays from this server.
SRS_PLAYER_PACKAGE=jswebrtc@1.0.0
SRS_PLAYER_SHA512=9564b11e50a565b9ee5befc53491377849b60657cbad5c3d28d089f0e6071e2b40512094a392ad324bec19873194a8dafc8e83e162cff6a77fe8118893cfff2f
SRS_PLAYER_FILE=.venv/jswebrtc.min.js
# Asks the API whatever its description allows, and a good deal that it does not.
SCHEMATHESIS_PACKAGE=schemathesis==4.32.5

say() { printf 'deps: %s\n' "$*"; }

twice() {
    "$@" && return 0
    say "failed; once more: $*"
    sleep 3
    "$@"
}

packages=
# need COMMAND PACKAGE...: the packages are wanted where the command is missing.
need() {
    command -v "$1" >/dev/null 2>&1 && return 0
    shift
    packages="$packages $*"
}

case $goal in
build | run | test) ;;
*)
    echo "usage: scripts/deps.sh [build|run|test]" >&2
    exit 2
    ;;
esac

if ! command -v cargo >/dev/null 2>&1; then
    say "cargo is missing: install Rust (1.95 or newer) with rustup, then try again" >&2
    exit 1
fi

# g++ for openh264 and fdk-aac, git for glommio's build script. Without nasm openh264 loses its SIMD silently and
# the demo picture costs three times the CPU.
need make build-essential
need g++ build-essential
need git git
need nasm nasm
need cmake cmake

# What the web pages need beyond the browser.
if [ "$goal" != build ]; then
    for file in web/vendor/mpegts.js web/vendor/qrcode.js web/vendor/inter.woff2; do
        [ -e "$file" ] || need npm npm nodejs
    done
fi
if [ "$goal" = test ]; then
    [ -e "$AXE" ] && [ -e "$SRS_PLAYER_FILE" ] || need npm npm nodejs
    need ffmpeg ffmpeg
    need ffprobe ffmpeg
    need rtmpdump rtmpdump
    need curl curl
    need openssl openssl
    need chromium chromium
    need chromedriver chromium-driver
    if [ ! -x .venv/bin/python3 ]; then
        python3 -c 'import ensurepip, venv' >/dev/null 2>&1 || packages="$packages python3-venv"
    fi
fi

if [ -n "$packages" ]; then
    packages=$(printf '%s\n' $packages | sort -u | tr '\n' ' ')
    as_root=
    [ "$(id -u)" = 0 ] || as_root=sudo
    if ! command -v apt-get >/dev/null 2>&1 || { [ -n "$as_root" ] && ! command -v sudo >/dev/null 2>&1; }; then
        say "please install, as root: apt-get install --no-install-recommends $packages" >&2
        exit 1
    fi
    say "installing: $packages"
    twice $as_root apt-get -q update
    # shellcheck disable=SC2086  # a list of words
    twice $as_root env DEBIAN_FRONTEND=noninteractive apt-get -q install -y --no-install-recommends $packages
fi

if [ "$goal" = test ]; then
    have() {
        ls .venv/lib/python3*/site-packages/$1 >/dev/null 2>&1
    }
    aiortc=${AIORTC_PACKAGE#*==}
    schemathesis=${SCHEMATHESIS_PACKAGE#*==}
    if ! have 'imageio_ffmpeg/binaries/ffmpeg-*' || ! have "aiortc-$aiortc.dist-info/METADATA" ||
        ! have "schemathesis-$schemathesis.dist-info/METADATA"; then
        say "fetching ffmpeg 7, aiortc and schemathesis into .venv"
        # A half-made environment from an earlier attempt is made anew.
        twice python3 -m venv --clear .venv
        twice .venv/bin/python3 -m pip install --quiet --disable-pip-version-check \
            "$FFMPEG7_PACKAGE" "$AIORTC_PACKAGE" "$SCHEMATHESIS_PACKAGE"
    fi
    # unpack PACKAGE SHA512: a package of npm, exactly the one that the tests were written with, in $work/package.
    work=$(mktemp -d)
    trap 'rm -rf "$work"' EXIT
    unpack() {
        say "fetching $1"
        archive=$work/$(cd "$work" && twice npm pack --silent --ignore-scripts "$1")
        echo "$2  $archive" | sha512sum --check --status || {
            say "what npm fetched is not the $1 that the tests were written with" >&2
            exit 1
        }
        rm -rf "$work/package"
        tar -xzf "$archive" -C "$work"
    }
    if [ ! -e "$SRS_PLAYER_FILE" ]; then
        unpack "$SRS_PLAYER_PACKAGE" "$SRS_PLAYER_SHA512"
        cp "$work/package/dist/jswebrtc.min.js" "$SRS_PLAYER_FILE"
    fi
    if [ ! -e "$AXE" ]; then
        unpack "$AXE_PACKAGE" "$AXE_SHA512"
        mkdir -p "$(dirname "$AXE")"
        cp "$work/package/LICENSE" "$work/package/axe.min.js" "$(dirname "$AXE")/"
    fi
fi
say "all there for '$goal'"
