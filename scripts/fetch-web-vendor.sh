#!/bin/sh
# Fetches the web page's player (mpegts.js, Apache-2.0) into web/vendor/, which the build embeds when it is there.
#
# One exact version, checked against the hash below; nothing is done when it is already in place. A machine without npm
# or without a network gets a sentence and goes on: the server builds and runs, only its page cannot play.
set -eu

package=mpegts.js
version=1.8.2
sha512=71960c6b99ae0121f9e70ad2e892b9206914aa7080f7a7347fe59d9d6f758c82bdb3f37a3738e64d00c935883d039bbf1b64399e3d9bdf0d59c33cdeffd82ec4

cd "$(dirname "$0")/.."
vendor=web/vendor

without() {
    echo "fetch-web-vendor: $1" >&2
    echo "fetch-web-vendor: going on without it: the server works, but its web page cannot play until" >&2
    echo "fetch-web-vendor: scripts/fetch-web-vendor.sh has succeeded and the server is built again." >&2
    exit 0
}

if [ -f "$vendor/mpegts.js" ] && [ "$(cat "$vendor/VERSION" 2>/dev/null)" = "$package $version" ]; then
    exit 0
fi
command -v npm >/dev/null 2>&1 || without "npm is not installed, so $package $version cannot be fetched"

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
(cd "$work" && npm pack --silent --ignore-scripts "$package@$version" >/dev/null 2>&1) ||
    without "npm could not fetch $package $version (no network?)"
archive="$work/$package-$version.tgz"
echo "$sha512  $archive" | sha512sum --check --status 2>/dev/null ||
    without "what npm fetched is not the $package $version that this project has checked"
tar -xzf "$archive" -C "$work" || without "the archive of $package $version cannot be read"

mkdir -p "$vendor"
cp "$work/package/dist/mpegts.js" "$vendor/mpegts.js"
cat "$work/package/LICENSE" "$work/package/dist/mpegts.js.LICENSE.txt" >"$vendor/mpegts.js.LICENSE.txt"
gzip -9 -n -c "$vendor/mpegts.js" >"$vendor/mpegts.js.gz"
# Last, so that a broken run is not taken for a finished one.
echo "$package $version" >"$vendor/VERSION"
echo "fetch-web-vendor: $package $version is in $vendor"
