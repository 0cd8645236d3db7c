#!/bin/sh
# Fetches what the web pages need beyond the browser into web/vendor/, which the build embeds when it is there:
#
#   mpegts.js           Apache-2.0   plays FLV through Media Source Extensions
#   qrcode-generator    MIT          addresses as QR codes
#   inter (fontsource)  OFL-1.1      the typeface
#
# Exact versions, checked against the hashes below; nothing is done for what is already in place. A machine without npm or
# without a network gets a sentence and goes on: the server builds and runs, and its pages say which player is missing.
set -eu

cd "$(dirname "$0")/.."
vendor=web/vendor
mkdir -p "$vendor"

without() {
    echo "fetch-web-vendor: $1" >&2
    echo "fetch-web-vendor: going on without it: the server works, but its pages lack this until" >&2
    echo "fetch-web-vendor: scripts/fetch-web-vendor.sh has succeeded and the server is built again." >&2
}

# fetch PACKAGE VERSION SHA512 FILE: the package's archive, unpacked in $work/package, unless FILE is there already and of
# this version. The caller's function `take_FILE` then copies from there.
fetch() {
    package=$1 version=$2 sha512=$3 file=$4
    mark="$vendor/$file.version"
    if [ -f "$vendor/$file" ] && [ "$(cat "$mark" 2>/dev/null)" = "$package $version" ]; then
        return 1
    fi
    if ! command -v npm >/dev/null 2>&1; then
        without "npm is not installed, so $package $version cannot be fetched"
        return 1
    fi
    rm -rf "$work/package" "$work"/*.tgz
    if ! (cd "$work" && npm pack --silent --ignore-scripts "$package@$version" >/dev/null 2>&1); then
        without "npm could not fetch $package $version (no network?)"
        return 1
    fi
    if ! cat "$work"/*.tgz | sha512sum | grep -q "^$sha512 "; then
        without "what npm fetched is not the $package $version that this project has checked"
        return 1
    fi
    if ! tar -xzf "$work"/*.tgz -C "$work"; then
        without "the archive of $package $version cannot be read"
        return 1
    fi
}

# Last, so that a broken run is not taken for a finished one.
taken() {
    echo "$package $version" >"$mark"
    echo "fetch-web-vendor: $package $version is in $vendor"
}

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

if fetch mpegts.js 1.8.2 \
    71960c6b99ae0121f9e70ad2e892b9206914aa7080f7a7347fe59d9d6f758c82bdb3f37a3738e64d00c935883d039bbf1b64399e3d9bdf0d59c33cdeffd82ec4 \
    mpegts.js; then
    cp "$work/package/dist/mpegts.js" "$vendor/mpegts.js"
    cat "$work/package/LICENSE" "$work/package/dist/mpegts.js.LICENSE.txt" >"$vendor/mpegts.js.LICENSE.txt"
    taken
fi

if fetch qrcode-generator 2.0.4 \
    9994a23fa4676c7978c4bd80a791df9232e79b17ca70f5a959efdcfb95f10ae7ad11e9ea98d15fd451ff7ed5cf0ad146e7f4c3a1b8ec8f3eac48d2f44abf19f6 \
    qrcode.js; then
    cp "$work/package/dist/qrcode.mjs" "$vendor/qrcode.js"
    # The package names its licence in its source alone; this is that licence.
    cat >"$vendor/qrcode-generator.LICENSE.txt" <<'MIT'
QR Code Generator for JavaScript
Copyright (c) 2009 Kazuhiko Arase, http://www.d-project.com/

The MIT License, http://www.opensource.org/licenses/mit-license.php

Permission is hereby granted, free of charge, to any person obtaining a copy of this software and associated documentation
files (the "Software"), to deal in the Software without restriction, including without limitation the rights to use, copy,
modify, merge, publish, distribute, sublicense, and/or sell copies of the Software, and to permit persons to whom the
Software is furnished to do so, subject to the following conditions:

The above copyright notice and this permission notice shall be included in all copies or substantial portions of the
Software.

THE SOFTWARE IS PROVIDED "AS IS", WITHOUT WARRANTY OF ANY KIND, EXPRESS OR IMPLIED, INCLUDING BUT NOT LIMITED TO THE
WARRANTIES OF MERCHANTABILITY, FITNESS FOR A PARTICULAR PURPOSE AND NONINFRINGEMENT. IN NO EVENT SHALL THE AUTHORS OR
COPYRIGHT HOLDERS BE LIABLE FOR ANY CLAIM, DAMAGES OR OTHER LIABILITY, WHETHER IN AN ACTION OF CONTRACT, TORT OR OTHERWISE,
ARISING FROM, OUT OF OR IN CONNECTION WITH THE SOFTWARE OR THE USE OR OTHER DEALINGS IN THE SOFTWARE.

The word "QR Code" is a registered trademark of DENSO WAVE INCORPORATED, http://www.denso-wave.com/qrcode/faqpatent-e.html
MIT
    taken
fi

if fetch @fontsource-variable/inter 5.3.0 \
    3aea4be3cbdae093687dbf7bc3a358785f52ed6fe41cd28cd04afc0de9b99ea8b88de38bad5243a04f2d644a673099ad92f35b0751083cfc0771d905e9bd6850 \
    inter.woff2; then
    cp "$work/package/files/inter-latin-wght-normal.woff2" "$vendor/inter.woff2"
    cp "$work/package/LICENSE" "$vendor/inter.LICENSE.txt"
    taken
fi
