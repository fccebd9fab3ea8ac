#!/bin/sh
# Installs the executable of one release on Linux or macOS, after checking its SHA-256.
#
#   LOCAL_MODEL_MCP_INSTALL_DIR   the folder to install into; the default is ~/.local/bin
#   LOCAL_MODEL_MCP_RELEASES      a mirror of the releases: ADDRESS/vX.Y.Z/FILE
#
# packaging/assemble writes the three lines below for a release. While they are empty, no release
# exists. The script is one function, so that a download that was cut off does nothing.
version=""
releases="https://github.com/local-model-mcp/local-model-mcp/releases/download"
digests=""

set -eu
manual=https://github.com/local-model-mcp/local-model-mcp/blob/main/docs/guide.md#installing
temporary=

fail() {
    echo "local-model-mcp: $1" >&2
    exit 1
}

# Prints the target of this machine, or nothing.
target() {
    case "$(uname -s) $(uname -m)" in
        'Linux x86_64') echo x86_64-unknown-linux-gnu ;;
        'Linux aarch64' | 'Linux arm64') echo aarch64-unknown-linux-gnu ;;
        'Darwin arm64') echo aarch64-apple-darwin ;;
    esac
}

# Downloads $1 to the file $2. Prints why it failed.
download() {
    if command -v curl > /dev/null; then
        curl --fail --silent --show-error --location --retry 2 --output "$2" "$1" 2>&1
    else
        wget --quiet --tries=2 --output-document="$2" "$1" 2>&1 || {
            echo "wget ended with status $?"
            return 1
        }
    fi
}

sha256() {
    if command -v sha256sum > /dev/null; then
        sha256sum "$1"
    else
        shasum -a 256 "$1"
    fi | cut -d ' ' -f 1
}

install() {
    [ -n "$version" ] || fail "no release has been published yet; build it from source: $manual"
    target=$(target)
    [ -n "$target" ] ||
        fail "there is no release for $(uname -s) on $(uname -m); build it from source: $manual"
    command -v curl > /dev/null || command -v wget > /dev/null ||
        fail "neither curl nor wget was found; install one of them"
    expected=
    for pair in $digests; do
        case $pair in "$target="*) expected=${pair#*=} ;; esac
    done
    folder=${LOCAL_MODEL_MCP_INSTALL_DIR:-${HOME:?}/.local/bin}
    mkdir -p "$folder" 2> /dev/null || true
    temporary=$(mktemp -d "$folder/.local-model-mcp.XXXXXX" 2> /dev/null) ||
        fail "$folder is not writable; set LOCAL_MODEL_MCP_INSTALL_DIR to a folder that is"
    trap 'rm -rf "$temporary"' EXIT
    trap 'exit 1' HUP INT TERM

    name=local-model-mcp-$target
    address=${LOCAL_MODEL_MCP_RELEASES:-$releases}/v$version/$name.tar.gz
    way_out="check the connection, or set LOCAL_MODEL_MCP_RELEASES to a mirror"
    problem=$(download "$address" "$temporary/archive") ||
        fail "$address cannot be downloaded (${problem:-no reason given}); $way_out"
    found=$(sha256 "$temporary/archive")
    [ "$found" = "$expected" ] ||
        fail "$address has SHA-256 $found, expected $expected; nothing was installed"
    problem=$(tar -xzf "$temporary/archive" -C "$temporary" 2>&1) ||
        fail "$address cannot be unpacked: $problem"
    # Loads the runtime and the built-in model once; shows whether a system library is missing.
    problem=$("$temporary/$name/local-model-mcp" check --cache-dir "$temporary/cache" 2>&1) ||
        fail "the executable does not run on this system: $(echo "$problem" | tail -n 1)"
    mv -f "$temporary/$name/local-model-mcp" "$folder/local-model-mcp" 2> /dev/null ||
        fail "$folder/local-model-mcp cannot be replaced"
    echo "installed $folder/local-model-mcp $version"
    case ":$PATH:" in *":$folder:"*) ;; *) echo "$folder is not on your PATH" ;; esac
    echo "next: $folder/local-model-mcp register --apply"
}

install
